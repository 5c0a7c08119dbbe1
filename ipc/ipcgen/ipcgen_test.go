package main

import (
	"bytes"
	"go/format"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/joyboyid/xc/ipc/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// generated are the packages that are generated for the tests.
var generated = []string{"internal/sample", "internal/older"}

// The generated files that are committed are what the generator writes; that
// they compile and work is tested beside them.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	leak.Check(t)
	needGo(t)
	for _, dir := range generated {
		for range 3 { // and again, for the order of maps
			out := t.TempDir()
			code, doc := filepath.Join(out, "shop_ipc.go"), filepath.Join(out, "shop.md")
			if err := run([]string{"-type", "Shop", "-out", code, "-doc", doc}, dir, io.Discard); err != nil {
				t.Fatal(err)
			}
			same(t, code, filepath.Join(dir, "shop_ipc.go"))
			if dir == "internal/sample" {
				same(t, doc, filepath.Join(dir, "shop.md"))
			}
		}
	}
}

// They pass what handwritten code has to pass; .golangci.yml excludes none of them
// from staticcheck.
func TestGeneratedFilesAreClean(t *testing.T) {
	leak.Check(t)
	for _, dir := range generated {
		b, err := os.ReadFile(filepath.Join(dir, "shop_ipc.go"))
		if err != nil {
			t.Skip("the generated files are not here: ", err)
		}
		if clean, err := format.Source(b); err != nil || !bytes.Equal(b, clean) {
			t.Errorf("%s is not gofmt'ed: %v", dir, err)
		}
	}
	needGo(t)
	if out, err := exec.CommandContext(t.Context(), "go", "vet", "./internal/...").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// needGo skips a test where packages cannot be listed.
func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the generator asks the go command about packages: ", err)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s is not current; run go generate ./ipc/ipcgen/...", want)
	}
}

var position = regexp.MustCompile(`^p\.go:[0-9]+:[0-9]+: `)

// What cannot cross is refused where it stands.
func TestRefusals(t *testing.T) {
	leak.Check(t)
	needGo(t)
	const head = "package p\n\nimport (\n\t\"context\"\n\t\"iter\"\n\t\"os\"\n)\n\nvar _ iter.Seq[*os.File]\n\n" // 10 lines
	tests := []struct{ name, source, want string }{
		{"generic interface", "type T[E any] interface {\n\tM(ctx context.Context) error\n}", "p.go:11:6: T is generic"},
		{"embedded generic", "type G[E any] interface { M(ctx context.Context, e E) error }\ntype T interface {\n\tG[int]\n}", "p.go:13:2: G is generic"},
		{"constraint", "type T interface{ ~int }", "p.go:11:6: T is a constraint"},
		{"struct", "type T struct{}", "p.go:11:6: T is not an interface"},
		{"function", "func T() {}", "p.go:11:6: T is not a type"},
		{"missing", "type U interface{}", "no type T in package p"},
		{"empty", "type T interface{}", "p.go:11:6: T has no methods"},
		{"unexported method", "type T interface {\n\tm(ctx context.Context) error\n}", "p.go:12:2: m is not exported"},
		{"no context", "type T interface {\n\tM(n int) error\n}", "p.go:12:2: M: the first parameter must be a context.Context"},
		{"no error", "type T interface {\n\tM(ctx context.Context) int\n}", "p.go:12:2: M: the last result must be an error"},
		{"nothing returned", "type T interface {\n\tM(ctx context.Context)\n}", "p.go:12:2: M: the last result must be an error"},
		{"unnamed parameter", "type T interface {\n\tM(context.Context, int) error\n}", "p.go:12:21: M: parameter 1 needs a name"},
		{"unnamed results", "type T interface {\n\tM(ctx context.Context) (int, string, error)\n}", "p.go:12:26: M: result 1 needs a name"},
		{"channel", "type T interface {\n\tM(ctx context.Context, c chan int) error\n}", "p.go:12:25: M: parameter c: chan int has no form in JSON"},
		{"function in a struct", "type S struct {\n\tF func()\n}\ntype T interface {\n\tM(ctx context.Context, s []S) error\n}", "p.go:12:2: M: parameter s.F: func() has no form in JSON"},
		{"function not last", "type T interface {\n\tM(ctx context.Context, f func(int) error, n int) error\n}", "p.go:12:25: M: parameter f: func(int) error has no form in JSON"},
		{"interface", "type T interface {\n\tM(ctx context.Context, e error) error\n}", "p.go:12:25: M: parameter e: error is an interface"},
		{"complex", "type T interface {\n\tM(ctx context.Context) (complex128, error)\n}", "p.go:12:26: M: result result: complex128 has no form in JSON"},
		{"map keys", "type T interface {\n\tM(ctx context.Context, m map[float64]int) error\n}", "p.go:12:25: M: parameter m: map[float64]int has keys that JSON does not have"},
		{"unexported field", "type S struct {\n\tn int\n}\ntype T interface {\n\tM(ctx context.Context, s S) error\n}", "p.go:12:2: M: parameter s.n would be lost"},
		{"file by value", "type T interface {\n\tM(ctx context.Context, f os.File) error\n}", "p.go:12:25: M: parameter f: an os.File crosses as a pointer"},
		{"map of files", "type T interface {\n\tM(ctx context.Context, f map[string]*os.File) error\n}", "p.go:12:25: M: parameter f: map[string]*os.File is a map of files"},
		{"array of files", "type T interface {\n\tM(ctx context.Context, f [2]*os.File) error\n}", "p.go:12:25: M: parameter f: [2]*os.File is an array of files"},
		{"anonymous struct of files", "type T interface {\n\tM(ctx context.Context, f struct{ F *os.File }) error\n}", "p.go:12:25: M: parameter f: a struct with files must be an exported"},
		{"unexported struct of files", "type s struct{ F *os.File }\ntype T interface {\n\tM(ctx context.Context, f s) error\n}", "p.go:13:25: M: parameter f: a struct with files must be an exported"},
		{"embedded pointer to files", "type E struct{ F *os.File }\ntype S struct {\n\t*E\n}\ntype T interface {\n\tM(ctx context.Context, f S) error\n}", "p.go:13:3: M: parameter f.E: embedded files need a name"},
		{"own encoding with files", "type S struct{ F *os.File }\nfunc (S) MarshalJSON() ([]byte, error) { return nil, nil }\nfunc (*S) UnmarshalJSON([]byte) error { return nil }\ntype T interface {\n\tM(ctx context.Context, f S) error\n}", "p.go:15:25: M: parameter f: S encodes itself and holds files"},
		{"encoded only", "type S struct{}\nfunc (S) MarshalJSON() ([]byte, error) { return nil, nil }\ntype T interface {\n\tM(ctx context.Context, f S) error\n}", "p.go:14:25: M: parameter f: S can be encoded but not decoded"},
		{"unknown type", "type T interface {\n\tM(ctx context.Context, f Missing) error\n}", "p.go:12:27: undefined: Missing"},
		{"generic struct of files", "type B[E any] struct{ V E }\ntype T interface {\n\tM(ctx context.Context, b B[*os.File]) error\n}", "p.go:13:25: M: parameter b: a struct with files must be an exported, not generic type"},
		{"iterator", "type T interface {\n\tM(ctx context.Context) iter.Seq2[chan int, error]\n}", "p.go:12:25: M: item: chan int has no form in JSON"},
		{"items", "type T interface {\n\tM(ctx context.Context, emit func(chan int) error) error\n}", "p.go:12:25: M: item: chan int has no form in JSON"},
		{"iterator and more", "type T interface {\n\tM(ctx context.Context) (iter.Seq2[int, error], error)\n}", "p.go:12:26: M: result result: iter.Seq2[int, error] has no form in JSON"},
		{"syntax", "type T interface {", "p.go:11:20: expected '}'"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"go.mod": "module p\n\ngo 1.26\n", "p.go": head + tc.source + "\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := run([]string{"-type", "T"}, dir, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			} else if tc.name != "missing" && !position.MatchString(tc.want) {
				t.Errorf("no position in %q", tc.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "t_ipc.go")); err == nil {
				t.Error("a file was written")
			}
		})
	}
}

func TestUsage(t *testing.T) {
	leak.Check(t)
	for _, args := range [][]string{nil, {"-type", "T", "more"}, {"-typ", "T"}} {
		if err := run(args, ".", io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	if err := run([]string{"-type", "T"}, t.TempDir(), io.Discard); err == nil {
		t.Error("a directory without a package was accepted")
	}
}

// The file that is to be written may be stale beyond compiling.
func TestStaleOutput(t *testing.T) {
	leak.Check(t)
	needGo(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":   "module p\n\ngo 1.26\n",
		"p.go":     "package p\n\nimport \"context\"\n\ntype T interface{ M(ctx context.Context) error }\n\nvar _ = TClient{}\n",
		"t_ipc.go": "package p\n\nthis is not Go\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{"-type", "T"}, dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "t_ipc.go")); err != nil || !strings.Contains(string(b), "type TClient struct") {
		t.Errorf("%v\n%s", err, b)
	}
}
