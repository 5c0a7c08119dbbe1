package main

import (
	"go/token"
	"go/types"
	"reflect"
	"strings"
)

// check refuses a type that JSON and descriptors cannot carry both ways.
func (s *service) check(t types.Type, pos token.Pos, what string) error {
	c := checker{s.pkg, map[types.Type]bool{}}
	return c.check(t, pos, what)
}

type checker struct {
	pkg  *pkg
	seen map[types.Type]bool
}

func (c checker) check(t types.Type, pos token.Pos, what string) error {
	refuse := func(why string) error {
		return c.pkg.errorf(pos, "%s: %s %s", what, types.TypeString(t, types.RelativeTo(c.pkg.types)), why)
	}
	t = types.Unalias(t)
	if c.seen[t] || isFile(t) {
		return nil
	}
	c.seen[t] = true
	if encodes(t) {
		if !decodes(t) {
			return refuse("can be encoded but not decoded")
		}
		if hasFile(t.Underlying()) {
			return refuse("encodes itself and holds files")
		}
		return nil
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Kind() == types.Invalid {
			for _, err := range c.pkg.errs {
				return err
			}
			return refuse("is not known")
		}
		if u.Info()&types.IsComplex != 0 || u.Kind() == types.UnsafePointer {
			return refuse("has no form in JSON")
		}
	case *types.Pointer:
		return c.check(u.Elem(), pos, what)
	case *types.Slice:
		return c.check(u.Elem(), pos, what)
	case *types.Array:
		if hasFile(u) {
			return refuse("is an array of files; use a slice")
		}
		return c.check(u.Elem(), pos, what)
	case *types.Map:
		if hasFile(u) {
			return refuse("is a map of files; use a slice")
		}
		if k, ok := u.Key().Underlying().(*types.Basic); !encodes(u.Key()) && (!ok || k.Info()&(types.IsString|types.IsInteger) == 0) {
			return refuse("has keys that JSON does not have")
		}
		return c.check(u.Elem(), pos, what)
	case *types.Struct:
		return c.fields(t, u, pos, what)
	case *types.Interface:
		if !u.Empty() {
			return refuse("is an interface, which cannot be decoded")
		}
	default:
		return refuse("has no form in JSON")
	}
	return nil
}

func (c checker) fields(t types.Type, u *types.Struct, pos token.Pos, what string) error {
	if named, ok := t.(*types.Named); hasFile(u) && (!ok || !named.Obj().Exported() || named.TypeArgs().Len() > 0) {
		return c.pkg.errorf(pos, "%s: a struct with files must be an exported, not generic type", what)
	}
	if o, ok := t.(*types.Named); ok && o.Obj().Pkg() != nil && o.Obj().Pkg().Path() == "os" && o.Obj().Name() == "File" {
		return c.pkg.errorf(pos, "%s: an os.File crosses as a pointer", what)
	}
	for i := range u.NumFields() {
		f := u.Field(i)
		at := what + "." + f.Name()
		key, skip := jsonKey(f, u.Tag(i))
		switch {
		case skip || f.Name() == "_":
			continue
		case !f.Exported() && !f.Embedded():
			return c.pkg.errorf(f.Pos(), "%s would be lost: it is not exported (`json:\"-\"` says that this is meant)", at)
		case f.Embedded() && key == "" && hasFile(f.Type()):
			if _, ok := f.Type().Underlying().(*types.Struct); !ok {
				return c.pkg.errorf(f.Pos(), "%s: embedded files need a name in JSON", at)
			}
		}
		if err := c.check(f.Type(), f.Pos(), at); err != nil {
			return err
		}
	}
	return nil
}

// jsonKey returns the key in a field's tag, "" for none, and whether
// encoding/json skips the field.
func jsonKey(f *types.Var, tag string) (key string, skip bool) {
	t := reflect.StructTag(tag).Get("json")
	if t == "-" {
		return "", true
	}
	key, _, _ = strings.Cut(t, ",")
	return key, false
}

// isFile tells *os.File.
func isFile(t types.Type) bool {
	p, ok := types.Unalias(t).(*types.Pointer)
	if !ok {
		return false
	}
	n, ok := types.Unalias(p.Elem()).(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == "os" && n.Obj().Name() == "File"
}

// hasFile tells whether a type holds files, at any depth.
func hasFile(t types.Type) bool { return holds(t, map[types.Type]bool{}) }

func holds(t types.Type, seen map[types.Type]bool) bool {
	t = types.Unalias(t)
	if isFile(t) {
		return true
	}
	if seen[t] || encodes(t) {
		return false
	}
	seen[t] = true
	switch u := t.Underlying().(type) {
	case *types.Pointer:
		return holds(u.Elem(), seen)
	case *types.Slice:
		return holds(u.Elem(), seen)
	case *types.Array:
		return holds(u.Elem(), seen)
	case *types.Map:
		return holds(u.Elem(), seen)
	case *types.Struct:
		for i := range u.NumFields() {
			if _, skip := jsonKey(u.Field(i), u.Tag(i)); !skip && holds(u.Field(i).Type(), seen) {
				return true
			}
		}
	}
	return false
}

// encodes and decodes tell types with an encoding of their own.
func encodes(t types.Type) bool { return hasMethod(t, "MarshalJSON") || hasMethod(t, "MarshalText") }
func decodes(t types.Type) bool {
	return hasMethod(t, "UnmarshalJSON") || hasMethod(t, "UnmarshalText")
}

func hasMethod(t types.Type, name string) bool {
	if _, ok := t.Underlying().(*types.Interface); ok {
		return false
	}
	if _, ok := t.(*types.Pointer); ok {
		return false // looked at where it points to
	}
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
	_, ok := obj.(*types.Func)
	return ok
}
