package main

import (
	"fmt"
	"slices"
	"strings"
)

// method writes a method's two types, the client's side and the server's.
func (g *gen) method(m *method) {
	g.object(g.prefix(m)+"In", m.params)
	g.object(g.prefix(m)+"Out", m.results)
	g.p("// %s calls %s.", m.name, m.wire())
	g.p("func (c %sClient) %s%s {", g.s.name, m.name, g.signature(m))
	if m.seq {
		g.callSeq(m)
	} else {
		g.call(m)
	}
	g.p("}\n")
	g.p("func %sServe(ctx context.Context, impl %s, r *ipc.Request) (any, []*os.File, error) {", g.prefix(m), g.s.name)
	g.serve(m)
	g.p("}\n")
}

// object writes the struct in which parameters or results cross.
func (g *gen) object(name string, values []value) {
	if len(values) == 0 {
		return
	}
	g.p("type %s struct {", name)
	for _, v := range values {
		g.p("%s %s `json:%q`", field(v), g.wires.typ(v.typ), v.key)
	}
	g.p("}\n")
}

func field(v value) string { return strings.ToUpper(v.key[:1]) + v.key[1:] }

// pack declares in and files, the parameters as they cross.
func (g *gen) pack(m *method) (in, files string) {
	if len(m.params) == 0 {
		return "nil", "nil"
	}
	files = "nil"
	if anyFile(m.params) {
		files = "files.List"
		g.p("var files ipc.Files")
	}
	g.p("in := %sIn{", g.prefix(m))
	for _, v := range m.params {
		g.p("%s: %s,", field(v), g.wires.to(v.typ, g.name(v)))
	}
	g.p("}")
	return "in", files
}

func anyFile(values []value) bool {
	return slices.ContainsFunc(values, func(v value) bool { return hasFile(v.typ) })
}

// call writes the client's side of a plain method or one with a callback.
func (g *gen) call(m *method) {
	in, files := g.pack(m)
	out := "nil"
	if len(m.results) > 0 {
		g.p("var out %sOut", g.prefix(m))
		out = "&out"
	}
	if m.emit == nil {
		g.p("got, err := c.C.Call(ctx, %s, %s, %s, %s)", m.constant(), in, files, out)
	} else {
		g.p("got, err := c.C.Stream(ctx, %s, %s, %s, func(raw []byte, lent []*os.File) error {", m.constant(), in, files)
		g.item(m)
		g.p("return emit(item)\n}, %s)", out)
	}
	g.p("res := ipc.Files{List: got}")
	var values []string
	for i, v := range m.results {
		name := fmt.Sprintf("res%d", i)
		if len(m.results) == 1 {
			name = "result"
		}
		g.p("%s := %s", name, g.wires.from(v.typ, "out."+field(v), "res"))
		values = append(values, name)
	}
	g.p("return %s", strings.Join(append(values, "res.Done(err)"), ", "))
}

// callSeq writes the client's side of an iterator.
func (g *gen) callSeq(m *method) {
	g.p("return func(yield func(%s, error) bool) {", g.typ(m.emit))
	in, files := g.pack(m)
	g.p("stop := false")
	g.p("got, err := c.C.Stream(ctx, %s, %s, %s, func(raw []byte, lent []*os.File) error {", m.constant(), in, files)
	g.item(m)
	g.p("if stop = !yield(item, nil); stop { return context.Canceled }")
	g.p("return nil\n}, nil)")
	g.p("res := ipc.Files{List: got}")
	g.p("if err := res.Done(err); err != nil && !stop {")
	g.p("var none %s", g.typ(m.emit))
	g.p("yield(none, err)\n}\n}")
}

// item declares item, one element of a stream.
func (g *gen) item(m *method) {
	if !hasFile(m.emit) {
		g.p("var item %s", g.typ(m.emit))
		g.p("if err := ipc.DecodeItem(raw, &item); err != nil { return err }")
		return
	}
	g.p("var wire %s", g.wires.typ(m.emit))
	g.p("if err := ipc.DecodeItem(raw, &wire); err != nil { return err }")
	g.p("args := ipc.Files{List: lent}")
	g.p("item := %s", g.wires.from(m.emit, "wire", "args"))
	g.p("if err := args.Err(); err != nil { return err }")
}

// serve writes the server's side.
func (g *gen) serve(m *method) {
	args := []string{"ctx"}
	if len(m.params) > 0 {
		g.p("var in %sIn", g.prefix(m))
		g.p("if err := r.Decode(&in); err != nil { return nil, nil, err }")
		files := anyFile(m.params)
		if files {
			g.p("args := ipc.Files{List: r.Files}")
		}
		for i, v := range m.params {
			arg := g.wires.from(v.typ, "in."+field(v), "args")
			if hasFile(v.typ) {
				g.p("arg%d := %s", i, arg)
				arg = fmt.Sprintf("arg%d", i)
			}
			if m.variadic && i == len(m.params)-1 {
				arg += "..."
			}
			args = append(args, arg)
		}
		if files {
			g.p("if err := args.Err(); err != nil { return nil, nil, err }")
		}
	}
	if m.seq {
		g.p("for item, err := range impl.%s(%s) {", m.name, strings.Join(args, ", "))
		g.p("if err != nil { return nil, nil, err }")
		g.p("if err := %s; err != nil { return nil, nil, err }", g.send(m))
		g.p("}\nreturn nil, nil, nil")
		return
	}
	if m.emit != nil {
		g.p("emit := func(item %s) error {", g.typ(m.emit))
		g.p("return %s\n}", g.send(m))
		args = append(args, "emit")
	}
	g.answer(m, fmt.Sprintf("impl.%s(%s)", m.name, strings.Join(args, ", ")))
}

// send returns the call that emits item.
func (g *gen) send(m *method) string {
	if !hasFile(m.emit) {
		return "r.Emit(item)"
	}
	g.p("var files ipc.Files")
	g.p("wire := %s", g.wires.to(m.emit, "item"))
	return "r.Emit(wire, files.List...)"
}

// answer calls the implementation and returns its results as they cross.
func (g *gen) answer(m *method, call string) {
	if len(m.results) == 0 {
		g.p("return nil, nil, %s", call)
		return
	}
	var names []string
	for i := range m.results {
		names = append(names, fmt.Sprintf("res%d", i))
	}
	g.p("%s, err := %s", strings.Join(names, ", "), call)
	g.p("if err != nil { return nil, nil, err }")
	files := "nil"
	if anyFile(m.results) {
		files = "files.List"
		g.p("var files ipc.Files")
	}
	g.p("out := %sOut{", g.prefix(m))
	for i, v := range m.results {
		g.p("%s: %s,", field(v), g.wires.to(v.typ, names[i]))
	}
	g.p("}")
	g.p("return out, %s, nil", files)
}
