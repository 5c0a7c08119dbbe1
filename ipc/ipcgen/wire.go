package main

import (
	"fmt"
	"go/types"
	"strings"
)

// wires are the types that stand for those with files. A struct with files
// becomes one that embeds it, and whose own fields have the keys of the files:
// encoding/json prefers the field that is less deep.
type wires struct {
	gen  *gen
	done map[string]bool
	todo []types.Type
}

// typ returns the type as which t crosses.
func (w *wires) typ(t types.Type) string {
	switch {
	case !hasFile(t):
		return w.gen.typ(t)
	case isFile(t):
		return "ipc.Ref"
	}
	switch u := types.Unalias(t).Underlying().(type) {
	case *types.Pointer:
		return "*" + w.typ(u.Elem())
	case *types.Slice:
		return "[]" + w.typ(u.Elem())
	}
	return w.name(t)
}

// name returns a word for t and remembers to write what belongs to it.
func (w *wires) name(t types.Type) string {
	name := w.word(t) + "Wire"
	if w.done == nil {
		w.done = map[string]bool{}
	}
	if !w.done[name] {
		w.done[name] = true
		w.todo = append(w.todo, t)
	}
	return name
}

func (w *wires) word(t types.Type) string {
	switch u := types.Unalias(t).(type) {
	case *types.Pointer:
		return w.word(u.Elem()) + "Ptr"
	case *types.Slice:
		return w.word(u.Elem()) + "List"
	case *types.Named:
		if isFile(types.NewPointer(u)) {
			return w.gen.low + "File"
		}
		pkg := ""
		if q := w.gen.qualify(u.Obj().Pkg()); q != "" {
			pkg = strings.ToUpper(q[:1]) + q[1:]
		}
		return w.gen.low + pkg + u.Obj().Name()
	}
	return w.gen.low + "Value"
}

// to returns expr, a t, as it crosses; its files go to files.
func (w *wires) to(t types.Type, expr string) string {
	switch {
	case !hasFile(t):
		return expr
	case isFile(t):
		return fmt.Sprintf("files.Put(%s)", expr)
	}
	return fmt.Sprintf("%sTo(%s, &files)", w.name(t), expr)
}

// from returns expr, which came in, as a t with the files of the list.
func (w *wires) from(t types.Type, expr, list string) string {
	switch {
	case !hasFile(t):
		return expr
	case isFile(t):
		return fmt.Sprintf("%s.Get(%s)", list, expr)
	}
	return fmt.Sprintf("%sFrom(%s, &%s)", w.name(t), expr, list)
}

// emit writes what was asked for, and what that asks for.
func (w *wires) emit() {
	for len(w.todo) > 0 {
		t := w.todo[0]
		w.todo = w.todo[1:]
		switch u := types.Unalias(t).Underlying().(type) {
		case *types.Pointer:
			w.pointer(t, u.Elem())
		case *types.Slice:
			w.slice(t, u.Elem())
		case *types.Struct:
			w.structure(t, u)
		}
	}
}

// inner is to and from inside these functions, where files is a pointer.
func inner(expr string) string { return strings.ReplaceAll(expr, "&files", "files") }

func (w *wires) pointer(t, elem types.Type) {
	g, name := w.gen, w.name(t)
	g.p("func %sTo(v %s, files *ipc.Files) %s {", name, g.typ(t), w.typ(t))
	g.p("if v == nil { return nil }\nwire := %s\nreturn &wire\n}\n", inner(w.to(elem, "*v")))
	g.p("func %sFrom(wire %s, files *ipc.Files) %s {", name, w.typ(t), g.typ(t))
	g.p("if wire == nil { return nil }\nv := %s\nreturn &v\n}\n", inner(w.from(elem, "*wire", "files")))
}

func (w *wires) slice(t, elem types.Type) {
	g, name := w.gen, w.name(t)
	g.p("func %sTo(v %s, files *ipc.Files) %s {", name, g.typ(t), w.typ(t))
	g.p("if v == nil { return nil }\nwire := make(%s, len(v))", w.typ(t))
	g.p("for i := range v { wire[i] = %s }\nreturn wire\n}\n", inner(w.to(elem, "v[i]")))
	g.p("func %sFrom(wire %s, files *ipc.Files) %s {", name, w.typ(t), g.typ(t))
	g.p("if wire == nil { return nil }\nv := make(%s, len(wire))", g.typ(t))
	g.p("for i := range wire { v[i] = %s }\nreturn v\n}\n", inner(w.from(elem, "wire[i]", "files")))
}

// leaf is a field with files, maybe of an embedded struct.
type leaf struct {
	path, key string
	typ       types.Type
}

// leaves returns the fields of t with files, u being what t is or embeds. Their
// paths leave out what t's promoted fields make unnecessary.
func leaves(t types.Type, u *types.Struct, path string) []leaf {
	var all []leaf
	for i := range u.NumFields() {
		f := u.Field(i)
		key, skip := jsonKey(f, u.Tag(i))
		if skip || !hasFile(f.Type()) {
			continue
		}
		if f.Embedded() && key == "" {
			all = append(all, leaves(t, f.Type().Underlying().(*types.Struct), path+"."+f.Name())...)
			continue
		}
		if key == "" {
			key = f.Name()
		}
		at := path
		if promoted, _, _ := types.LookupFieldOrMethod(t, true, f.Pkg(), f.Name()); promoted == f {
			at = ""
		}
		all = append(all, leaf{at + "." + f.Name(), key, f.Type()})
	}
	return all
}

func (w *wires) structure(t types.Type, u *types.Struct) {
	g, name, all := w.gen, w.name(t), leaves(t, u, "")
	g.p("// %s is %s with places instead of files.", name, g.typ(t))
	g.p("type %s struct {\n*%s", name, g.typ(t))
	for i, l := range all {
		g.p("File%d %s `json:%q`", i, w.typ(l.typ), l.key+",omitzero")
	}
	g.p("}\n")
	g.p("func %sTo(v %s, files *ipc.Files) %s {", name, g.typ(t), name)
	g.p("return %s{\n&v,", name)
	for _, l := range all {
		g.p("%s,", inner(w.to(l.typ, "v"+l.path)))
	}
	g.p("}\n}\n")
	g.p("func %sFrom(wire %s, files *ipc.Files) %s {", name, name, g.typ(t))
	g.p("var v %s", g.typ(t))
	g.p("if wire.%s != nil { v = *wire.%s }", base(t), base(t))
	for i, l := range all {
		g.p("v%s = %s", l.path, inner(w.from(l.typ, fmt.Sprintf("wire.File%d", i), "files")))
	}
	g.p("return v\n}\n")
}

// base is the name of the embedded field.
func base(t types.Type) string { return types.Unalias(t).(*types.Named).Obj().Name() }
