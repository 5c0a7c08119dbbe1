// Package cli is the program ocitar: it packs, unpacks, lists, compares and verifies
// OCI layers.
//
// What reads a layer does so in a process of its own, which has given up all but the
// directory it unpacks into before it reads the first byte: see package confine.
//
//	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/joyboyid/xc/internal/outfile"
	"github.com/joyboyid/xc/ocitar/confine"
)

const usage = `usage: ocitar create  [-C dir] [-f file] [options] [--remove path ...] [path ...]
       ocitar create  --zfs-diff [-f file] [options] snapshot snapshot|filesystem
       ocitar create  --from layer [-f file] [options]
       ocitar diff    [-f file] [options] old new
       ocitar extract [-C dir] [-f file] [options]
       ocitar list    [-f file] [--format json] [options]
       ocitar verify  [-f file] [--digest d] [--diff-id d] [--format json] [options]

A file "-", the default, is standard input or output. "ocitar VERB -h" lists options.
`

// reading is the first argument of ourselves as the process that only reads.
const reading = "reading"

// Main is one call of the program, or of a process that one starts: args are its
// arguments without its name. It returns the exit code: 0, 1 for a failure, 2 for wrong
// usage.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == confine.Verb {
		return confine.Main(args, stdin, stdout, stderr)
	}
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr, out: stdout}
	if len(args) > 1 && args[0] == reading {
		p.inside, args = true, args[1:]
	}
	verbs := map[string]func([]string) error{
		"create": p.create, "diff": p.diff, "extract": p.extract, "list": p.list, "verify": p.verify,
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(stderr, usage)
		return 2
	}
	ctx, stop := outfile.Interruptible(context.Background())
	defer stop()
	p.ctx, p.args = ctx, args
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
	args           []string        // the verb and what follows
	stdin          io.Reader
	stdout, stderr io.Writer
	out            io.Writer     // where a layer is written to
	made           *outfile.File // out, where it has a name
	inside         bool          // this is the process that only reads

	flags     *flag.FlagSet
	file      string
	dir       string
	json      bool
	unconfine bool
}

var errUsage = errors.New("wrong usage")

// exitCode is that of a process of ours, which has said what is wrong.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func (p *program) code(err error) int {
	var code exitCode
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprint(p.stderr, usage)
		return 2
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(p.stderr, "ocitar: %v\n", err)
	return 1
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

// input opens the layer. The process that only reads has got it already.
func (p *program) input(file string) (io.Reader, func() error, error) {
	if file == "-" || p.inside {
		return p.stdin, func() error { return nil }, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	return f, f.Close, nil
}

// output opens the file that a layer is written to, and says where the report goes: to
// standard error where the layer itself goes to standard output. done ends the file: it
// is told of the error that the layer came to, and returns it with its own.
func (p *program) output() (report io.Writer, done func(error) error, err error) {
	switch {
	case p.inside && p.file != "-":
		f := os.NewFile(3, p.file)
		p.out = f
		return p.stdout, func(err error) error { return errors.Join(err, f.Close()) }, nil
	case p.file == "-":
		return p.stderr, func(err error) error { return err }, nil
	}
	if p.made, err = outfile.Create(p.file); err != nil {
		return nil, nil, err
	}
	p.out = p.made.File
	return p.stdout, p.made.Finish, nil
}

// confined has a process of its own, which can do nothing but read layer and write,
// do what this one was called for. out is what it writes a layer to, if not standard output.
func (p *program) confined(layer io.Reader, out *os.File) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := confine.Command(p.ctx, exe, append([]string{"ocitar", reading}, p.args...)...)
	cmd.Env = append(cmd.Env, epochVariable+"="+os.Getenv(epochVariable))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = layer, p.stdout, p.stderr
	if out != nil {
		cmd.ExtraFiles = []*os.File{out}
	}
	err = cmd.Run()
	var ended interface{ ExitCode() int }
	if errors.As(err, &ended) && ended.ExitCode() >= 0 {
		return exitCode(ended.ExitCode())
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("confine: %w: are user namespaces allowed here? --unconfined reads without", err)
	}
	return err
}
