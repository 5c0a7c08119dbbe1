// Package confine unpacks OCI layers in a child process that has nothing but the
// directory it unpacks into, and reads them in one that has nothing at all.
//
// A layer is hostile input, and unpacking needs root's privileges. So the child, before
// it reads the first byte, makes its root directory the world:
//
//   - Linux: mount, network, IPC and UTS namespaces of its own, pivot_root(2) into the
//     directory and the rest unmounted, no_new_privs, and only the capabilities that
//     restoring owners, devices and attributes needs.
//   - FreeBSD: chroot(2) into the directory, then Capsicum's capability mode.
//
// Even a resolver that followed ".." could not reach anything. What the child is told
// comes as one JSON argument, what it says as one JSON object on its standard output.
//
//	c := confine.Child{Argv: []string{"/usr/local/bin/ocitar"}}
//	sum, err := c.Unpack(ctx, "/layers/7", blob) // as (*ocitar.Unpacker).Unpack
//
// A program of one file is its own child: it calls Main first thing where its
// arguments say so, as ocitar/cmd/ocitar does. What only reads a layer (to list, verify
// or convert it) needs no directory: a process that Command starts calls Empty.
package confine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"github.com/joyboyid/xc/inroot"
	"github.com/joyboyid/xc/ocitar"
)

// Verb is the argument after which Main takes the orders of a Child.
const Verb = "confined"

// Child starts ocitar to unpack one layer. Its fields but Argv and Lower are those of
// ocitar.Unpacker.
type Child struct {
	// Argv is the program and arguments that come to Main with what is appended: the
	// verb and the orders. Path is its file, if that is not Argv[0] (as of exec.Cmd).
	Argv []string `json:"-"`
	Path string   `json:"-"`

	Limits     ocitar.Limits
	Whiteouts  ocitar.Whiteouts
	Devices    ocitar.Devices
	NoOwner    bool
	UIDs, GIDs []ocitar.IDMap
	Lower      []string // directories of the layers below, newest first

	Into         string
	Plain, Merge bool
}

// orders is what a child is told.
type orders struct {
	Child
	Root string
	Open bool // the root is descriptor 3
}

// answer is what it says.
type answer struct {
	Summary ocitar.Summary
	Failure *failure `json:",omitempty"`
}

// maxAnswer bounds what is read of it: notes can be long, the child may be misled.
const maxAnswer = 1 << 20

// Unpack applies layer to the directory root, as ocitar's Unpack does. An *os.File is
// read by the child itself. Ending ctx kills the child.
func (c *Child) Unpack(ctx context.Context, root string, layer io.Reader) (ocitar.Summary, error) {
	cmd, err := c.command(ctx, orders{Child: *c, Root: root})
	if err != nil {
		return ocitar.Summary{}, err
	}
	return c.run(ctx, cmd, layer)
}

// UnpackTo is Unpack into an open directory: what is mounted in there is there, and it
// may be of another mount namespace.
func (c *Child) UnpackTo(ctx context.Context, root *os.File, layer io.Reader) (ocitar.Summary, error) {
	cmd, err := c.command(ctx, orders{Child: *c, Root: root.Name(), Open: true})
	if err != nil {
		return ocitar.Summary{}, err
	}
	cmd.ExtraFiles = []*os.File{root}
	return c.run(ctx, cmd, layer)
}

func (c *Child) run(ctx context.Context, cmd *exec.Cmd, layer io.Reader) (ocitar.Summary, error) {
	out, errs := limited{max: maxAnswer}, limited{max: 4 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = layer, &out, &errs
	runErr := cmd.Run()
	if ctx.Err() != nil {
		return ocitar.Summary{}, context.Cause(ctx)
	}
	var a answer
	if err := json.Unmarshal(out.b.Bytes(), &a); err != nil {
		if runErr == nil {
			runErr = fmt.Errorf("answer of %d bytes: %w", out.b.Len(), err)
		}
		return ocitar.Summary{}, fmt.Errorf("%s: %w: %s", c.Argv[0], runErr, bytes.TrimSpace(errs.b.Bytes()))
	}
	if a.Failure != nil {
		return a.Summary, a.Failure.error()
	}
	if runErr != nil { // also where the layer could not be read
		return a.Summary, fmt.Errorf("%s: %w", c.Argv[0], runErr)
	}
	return a.Summary, nil
}

func (c *Child) command(ctx context.Context, o orders) (*exec.Cmd, error) {
	if len(c.Argv) == 0 {
		return nil, fmt.Errorf("confine: no program: %w", fs.ErrInvalid)
	}
	if os.Geteuid() != 0 { // in the child's namespace all files have one owner
		o.NoOwner = true
	}
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return Command(ctx, cmp.Or(c.Path, c.Argv[0]), append(slices.Clone(c.Argv), Verb, string(arg))...), nil
}

// Command is the program path with args, its name first, in a process that can give up
// its privileges and the file system: with Empty. Its environment has nothing of ours.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = args
	cmd.SysProcAttr = attributes()
	cmd.Env = []string{"GOMEMLIMIT=64MiB"} // keeps the child's garbage small
	return cmd
}

// limited keeps the first max bytes and takes the rest.
type limited struct {
	b   bytes.Buffer
	max int
}

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), l.max-l.b.Len())])
	return len(p), nil
}

// obey is the child: it takes its orders, confines itself, and unpacks.
func obey(arg string, layer io.Reader, stdout io.Writer) error {
	var o orders
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	sum, err := o.unpack(layer)
	return json.NewEncoder(stdout).Encode(answer{sum, newFailure(err)})
}

func (o *orders) unpack(layer io.Reader) (ocitar.Summary, error) {
	lower := make([]*inroot.Root, 0, len(o.Lower))
	for _, dir := range o.Lower {
		r, err := openLower(dir)
		if err != nil {
			return ocitar.Summary{}, err
		}
		defer r.Close()
		lower = append(lower, r)
	}
	root, err := o.enter()
	if err != nil {
		return ocitar.Summary{}, fmt.Errorf("confine to %s: %w", o.Root, err)
	}
	defer root.Close()
	u := ocitar.Unpacker{
		Limits: o.Limits, Whiteouts: o.Whiteouts, Devices: o.Devices,
		NoOwner: o.NoOwner, UIDs: o.UIDs, GIDs: o.GIDs, Lower: lower,
		Into: o.Into, Plain: o.Plain, Merge: o.Merge,
	}
	return u.UnpackTo(context.Background(), root, layer)
}

func (o *orders) enter() (*inroot.Root, error) {
	if !o.Open {
		return enter(o.Root, o.Whiteouts == ocitar.Overlay)
	}
	dir := os.NewFile(3, o.Root)
	err := dir.Chdir()
	if err = errors.Join(err, dir.Close()); err != nil { // no directory may be open where one enters a jail
		return nil, err
	}
	return enterHere()
}

// failure is an error on its way out of the child: its text, what it matched.
type failure struct {
	Text   string
	Entry  string        `json:",omitempty"`
	Offset int64         `json:",omitempty"`
	Layer  bool          `json:",omitempty"` // it is an *ocitar.Error
	Errno  syscall.Errno `json:",omitempty"`
	Kind   int           `json:",omitempty"` // 1 + index in kinds
}

var kinds = [...]error{
	ocitar.ErrFormat, ocitar.ErrLimit, ocitar.ErrName, ocitar.ErrData,
	io.ErrUnexpectedEOF, errors.ErrUnsupported, fs.ErrNotExist, fs.ErrExist, fs.ErrPermission,
}

func newFailure(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{Text: err.Error()}
	if le, ok := errors.AsType[*ocitar.Error](err); ok {
		f.Layer, f.Entry, f.Offset, f.Text = true, le.Entry, le.Offset, le.Err.Error()
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		f.Errno = errno
	}
	for i, k := range kinds {
		if errors.Is(err, k) {
			f.Kind = i + 1
			break
		}
	}
	return f
}

// told is the child's error here: the same text, and it matches the same sentinels.
type told struct {
	text string
	is   []error
}

func (t *told) Error() string   { return t.text }
func (t *told) Unwrap() []error { return t.is }

func (f *failure) error() error {
	t := &told{text: f.Text}
	if f.Errno != 0 {
		t.is = append(t.is, f.Errno)
	}
	if f.Kind > 0 && f.Kind <= len(kinds) {
		t.is = append(t.is, kinds[f.Kind-1])
	}
	if f.Layer {
		return &ocitar.Error{Entry: f.Entry, Offset: f.Offset, Err: t}
	}
	return t
}
