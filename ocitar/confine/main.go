package confine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/joyboyid/xc/ocitar"
)

const usage = `usage: ocitar create  [-C dir] [-f file] [options] [--remove path ...] [path ...]
       ocitar diff    [-f file] [options] old new
       ocitar extract [-C dir] [-f file] [options]
       ocitar list    [-f file] [--format json]
       ocitar verify  [-f file] [--format json]

A file "-", the default, is standard input or output. "ocitar VERB -h" lists options.
`

// Main is the program ocitar: args are its arguments without its name. It returns the
// exit code: 0, 1 for a failure, 2 for wrong usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	verbs := map[string]func([]string) error{
		"create": p.create, "diff": p.diff, "extract": p.extract, "list": p.list, "verify": p.verify,
	}
	if len(args) == 2 && args[0] == Verb {
		return p.code(obey(args[1], stdin, stdout))
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p.ctx = ctx
	p.flags = flag.NewFlagSet("ocitar "+args[0], flag.ContinueOnError)
	p.flags.SetOutput(stderr)
	p.flags.StringVar(&p.file, "f", "-", "the layer's `file`")
	p.flags.BoolVar(&p.json, "json", false, "the same as --format json")
	p.flags.Func("format", "what is printed: text or json", p.setFormat)
	return p.code(verbs[args[0]](args[1:]))
}

// program is one call of ocitar.
type program struct {
	ctx            context.Context // of the process: main's own
	stdin          io.Reader
	stdout, stderr io.Writer

	flags *flag.FlagSet
	file  string
	dir   string
	json  bool
}

var errUsage = errors.New("wrong usage")

func (p *program) code(err error) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(p.stderr, usage)
		return 2
	}
	fmt.Fprintf(p.stderr, "ocitar: %v\n", err)
	return 1
}

func (p *program) setFormat(s string) error {
	if s != "text" && s != "json" {
		return fmt.Errorf("%q is neither text nor json", s)
	}
	p.json = s == "json"
	return nil
}

// parse reads the flags; flag has already said what is wrong with them.
func (p *program) parse(args []string, min, max int) error {
	if err := p.flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if n := p.flags.NArg(); n < min || max >= 0 && n > max {
		return errUsage
	}
	return nil
}

func (p *program) input() (io.Reader, func() error, error) {
	if p.file == "-" {
		return p.stdin, func() error { return nil }, nil
	}
	f, err := os.Open(p.file)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// summary prints what was read or written: to standard error where the layer itself goes
// to standard output.
func (p *program) summary(w io.Writer, s ocitar.Summary) error {
	if p.json {
		return json.NewEncoder(w).Encode(s)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(p.stderr, "ocitar: %q: %s\n", n.Entry, n.Text)
	}
	if s.NotesDropped > 0 {
		fmt.Fprintf(p.stderr, "ocitar: and %d more\n", s.NotesDropped)
	}
	_, err := fmt.Fprintf(w, "diffid %s %d\ndigest %s %d %s\n", s.DiffID, s.TarSize, s.Digest, s.Size, s.Compression)
	return err
}

// compression is the flag of that name.
type compression struct{ to *ocitar.Compression }

func (c compression) Set(s string) error { return c.to.UnmarshalText([]byte(s)) }
func (c compression) String() string {
	if c.to == nil {
		return "none"
	}
	return c.to.String()
}

// idMaps reads "INSIDE:OUTSIDE:SIZE".
func idMaps(to *[]ocitar.IDMap) func(string) error {
	return func(s string) error {
		parts := strings.Split(s, ":")
		if len(parts) != 3 {
			return fmt.Errorf("%q is not INSIDE:OUTSIDE:SIZE", s)
		}
		var n [3]uint32
		for i, part := range parts {
			v, err := strconv.ParseUint(part, 10, 32)
			if err != nil {
				return err
			}
			n[i] = uint32(v)
		}
		*to = append(*to, ocitar.IDMap{Inside: n[0], Outside: n[1], Size: n[2]})
		return nil
	}
}

// epoch reads SOURCE_DATE_EPOCH (reproducible-builds.org/specs/source-date-epoch).
func epoch() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", s)
	}
	return time.Unix(n, 0), nil
}
