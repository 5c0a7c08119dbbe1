package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// pkg is the package that declares the interface, type-checked without the
// file that is to be written: that one may be stale, or not there yet.
type pkg struct {
	dir   string
	fset  *token.FileSet
	types *types.Package
	files map[string]*ast.File // parsed, by name; those of other packages as needed
	errs  []error              // of the type checker, which are often about the missing file
}

// listed is what we ask of go list.
type listed struct {
	ImportPath, Name, Export string
	GoFiles                  []string
	Error                    *struct{ Err string }
}

func load(dir, out string) (*pkg, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	own, err := list(dir, "-e", "-json=ImportPath,Name,GoFiles,Error", ".")
	if err != nil {
		return nil, err
	}
	if len(own) != 1 || len(own[0].GoFiles) == 0 {
		return nil, fmt.Errorf("no Go package in %s", dir)
	}
	p := &pkg{dir: dir, fset: token.NewFileSet(), files: map[string]*ast.File{}}
	var files []*ast.File
	var imports []string
	for _, name := range own[0].GoFiles {
		if name == out {
			continue
		}
		f, err := p.parse(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err == nil && !slices.Contains(imports, path) {
				imports = append(imports, path)
			}
		}
	}
	lookup, err := exports(dir, imports)
	if err != nil {
		return nil, err
	}
	cfg := types.Config{
		Importer:         importer.ForCompiler(p.fset, "gc", lookup),
		Error:            func(err error) { p.errs = append(p.errs, err) },
		IgnoreFuncBodies: true,
	}
	p.types, _ = cfg.Check(own[0].ImportPath, p.fset, files, nil) // errors are in p.errs
	return p, nil
}

func (p *pkg) parse(name string) (*ast.File, error) {
	if f := p.files[name]; f != nil {
		return f, nil
	}
	f, err := parser.ParseFile(p.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	p.files[name] = f
	return f, nil
}

// exports compiles the imported packages and returns where their types are.
func exports(dir string, imports []string) (func(path string) (io.ReadCloser, error), error) {
	imports = slices.DeleteFunc(imports, func(p string) bool { return p == "unsafe" || p == "C" })
	where := map[string]string{}
	if len(imports) > 0 {
		deps, err := list(dir, append([]string{"-export", "-deps", "-json=ImportPath,Export", "--"}, imports...)...)
		if err != nil {
			return nil, err
		}
		for _, d := range deps {
			where[d.ImportPath] = d.Export
		}
	}
	return func(path string) (io.ReadCloser, error) {
		if where[path] == "" {
			return nil, fmt.Errorf("no types of package %s", path)
		}
		return os.Open(where[path])
	}, nil
}

// list runs go list.
func list(dir string, args ...string) ([]listed, error) {
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, l)
	}
}

// errorf is an error at a place in the source.
func (p *pkg) errorf(pos token.Pos, format string, args ...any) error {
	at := p.fset.Position(pos)
	if rel, err := filepath.Rel(p.dir, at.Filename); err == nil && filepath.IsLocal(rel) {
		at.Filename = rel
	}
	return fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...))
}

// embedded is where the interface whose name is at pos embeds its i-th other.
func (p *pkg) embedded(pos token.Pos, i int) token.Pos {
	at := pos // what is known of one in another package
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Pos() != pos {
				return true
			}
			if t, ok := spec.Type.(*ast.InterfaceType); ok {
				others := slices.DeleteFunc(slices.Clone(t.Methods.List), func(f *ast.Field) bool { return len(f.Names) > 0 })
				at = others[i].Type.Pos()
			}
			return false
		})
	}
	return at
}

// comment returns the comment of the method or type declared at pos.
func (p *pkg) comment(pos token.Pos) string {
	at := p.fset.Position(pos)
	f, err := p.parse(at.Filename)
	if err != nil {
		return "" // a package without its source has no comments for us
	}
	text := ""
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			if len(n.Specs) == 1 {
				if s, ok := n.Specs[0].(*ast.TypeSpec); ok && p.same(s.Name, at) {
					text = n.Doc.Text()
				}
			}
		case *ast.TypeSpec:
			if p.same(n.Name, at) && n.Doc != nil {
				text = n.Doc.Text()
			}
		case *ast.Field:
			if len(n.Names) == 1 && p.same(n.Names[0], at) {
				if text = n.Doc.Text(); text == "" {
					text = n.Comment.Text()
				}
			}
		}
		return true
	})
	return text
}

// same compares by line and name's begin: positions from export data have a
// file of their own in the set.
func (p *pkg) same(id *ast.Ident, at token.Position) bool {
	own := p.fset.Position(id.Pos())
	return own.Line == at.Line && own.Column == at.Column
}
