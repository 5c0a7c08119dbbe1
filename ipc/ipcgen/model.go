package main

import (
	"fmt"
	"go/token"
	"go/types"
	"sort"
)

// service is the interface, flattened.
type service struct {
	pkg     *pkg
	name    string
	doc     string
	parts   []*part // interfaces that declare methods, in order
	methods []*method
}

// part is one interface of a service.
type part struct {
	name, doc string
	methods   []*method
}

type method struct {
	part     string // the interface that declares it
	name     string
	doc      string
	pos      token.Pos
	params   []value // without the context and emit
	variadic bool
	results  []value    // without the error
	emit     types.Type // of the items of a stream; nil for none
	emitName string
	seq      bool // the stream is a result, iter.Seq2
}

// value is a parameter or a result.
type value struct {
	key string // in JSON
	typ types.Type
}

// service finds the interface and reads its methods.
func (p *pkg) service(name string) (*service, error) {
	obj := p.types.Scope().Lookup(name)
	if obj == nil {
		for _, err := range p.errs {
			return nil, err
		}
		return nil, fmt.Errorf("no type %s in package %s", name, p.types.Name())
	}
	tn, ok := obj.(*types.TypeName)
	if !ok {
		return nil, p.errorf(obj.Pos(), "%s is not a type", name)
	}
	s := &service{pkg: p, name: name, doc: p.comment(obj.Pos())}
	if err := s.add(name, tn.Type(), tn.Pos(), map[string]bool{}); err != nil {
		return nil, err
	}
	if len(s.methods) == 0 {
		return nil, p.errorf(obj.Pos(), "%s has no methods", name)
	}
	return s, nil
}

// add reads an interface: what it embeds first, then its own methods in the
// order of the source.
func (s *service) add(name string, t types.Type, pos token.Pos, seen map[string]bool) error {
	p := s.pkg
	if named, ok := types.Unalias(t).(*types.Named); ok {
		if named.TypeParams().Len() > 0 || named.TypeArgs().Len() > 0 {
			return p.errorf(pos, "%s is generic, which ipcgen does not support", named.Obj().Name())
		}
		name, pos = named.Obj().Name(), named.Obj().Pos()
	}
	iface, ok := t.Underlying().(*types.Interface)
	if !ok {
		return p.errorf(pos, "%s is not an interface", name)
	}
	if !iface.IsMethodSet() {
		return p.errorf(pos, "%s is a constraint, not an interface of methods", name)
	}
	for i := range iface.NumEmbeddeds() {
		if err := s.add(name, iface.EmbeddedType(i), p.embedded(pos, i), seen); err != nil {
			return err
		}
	}
	var own []*types.Func
	for i := range iface.NumExplicitMethods() {
		own = append(own, iface.ExplicitMethod(i))
	}
	sort.Slice(own, func(i, j int) bool { return own[i].Pos() < own[j].Pos() })
	in := &part{name: name, doc: p.comment(pos)}
	for _, f := range own {
		if seen[f.Name()] {
			continue // embedded twice
		}
		seen[f.Name()] = true
		m, err := s.method(name, f)
		if err != nil {
			return err
		}
		in.methods = append(in.methods, m)
		s.methods = append(s.methods, m)
	}
	if len(in.methods) > 0 {
		s.parts = append(s.parts, in)
	}
	return nil
}

// method reads one method.
func (s *service) method(part string, f *types.Func) (*method, error) {
	p := s.pkg
	m := &method{part: part, name: f.Name(), pos: f.Pos(), doc: p.comment(f.Pos())}
	sig := f.Signature()
	if !f.Exported() {
		return nil, p.errorf(f.Pos(), "%s is not exported", f.Name())
	}
	params, results := sig.Params(), sig.Results()
	if params.Len() == 0 || params.At(0).Type().String() != "context.Context" {
		return nil, p.errorf(f.Pos(), "%s: the first parameter must be a context.Context", f.Name())
	}
	n := params.Len()
	if e := item(params.At(n - 1).Type()); e != nil && !sig.Variadic() {
		m.emit, m.emitName = e, params.At(n-1).Name()
		n--
	}
	if r := results.Len(); r == 1 && seqItem(results.At(0).Type()) != nil && m.emit == nil {
		m.emit, m.seq = seqItem(results.At(0).Type()), true
	} else if r == 0 || !isError(results.At(r-1).Type()) {
		return nil, p.errorf(f.Pos(), "%s: the last result must be an error", f.Name())
	}
	m.variadic = sig.Variadic()
	for i := 1; i < n; i++ {
		v := params.At(i)
		if v.Name() == "" || v.Name() == "_" {
			return nil, p.errorf(v.Pos(), "%s: parameter %d needs a name, its key in JSON", f.Name(), i)
		}
		if err := s.check(v.Type(), v.Pos(), f.Name()+": parameter "+v.Name()); err != nil {
			return nil, err
		}
		m.params = append(m.params, value{v.Name(), v.Type()})
	}
	if !m.seq {
		if err := s.results(m, f, results); err != nil {
			return nil, err
		}
	}
	if m.emit != nil {
		at := results.At(0).Pos()
		if !m.seq {
			at = params.At(n).Pos()
		}
		if err := s.check(m.emit, at, f.Name()+": item"); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (s *service) results(m *method, f *types.Func, results *types.Tuple) error {
	for i := range results.Len() - 1 {
		v := results.At(i)
		key := v.Name()
		if key == "" || key == "_" {
			if results.Len() > 2 {
				return s.pkg.errorf(v.Pos(), "%s: result %d needs a name, its key in JSON", f.Name(), i+1)
			}
			key = "result"
		}
		if err := s.check(v.Type(), v.Pos(), f.Name()+": result "+key); err != nil {
			return err
		}
		m.results = append(m.results, value{key, v.Type()})
	}
	return nil
}

// item returns T for func(T) error.
func item(t types.Type) types.Type {
	sig, ok := t.Underlying().(*types.Signature)
	if !ok || sig.Params().Len() != 1 || sig.Variadic() || sig.Results().Len() != 1 || !isError(sig.Results().At(0).Type()) {
		return nil
	}
	return sig.Params().At(0).Type()
}

// seqItem returns T for iter.Seq2[T, error].
func seqItem(t types.Type) types.Type {
	n, ok := types.Unalias(t).(*types.Named)
	if !ok || n.Obj().Pkg() == nil || n.Obj().Pkg().Path() != "iter" || n.Obj().Name() != "Seq2" || !isError(n.TypeArgs().At(1)) {
		return nil
	}
	return n.TypeArgs().At(0)
}

func isError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }
