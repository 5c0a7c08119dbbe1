package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const cpLong = `A file is copied under the name DESTINATION, or into it if it is a directory. A
directory is copied into DESTINATION if that exists, else its content becomes
DESTINATION; of SOURCE/. always the content is copied. The directory that DESTINATION
is in must exist. - is an archive (tar) on standard input, unpacked into DESTINATION,
or on standard output.

Paths in a container begin at its root; it need not run. A path with a colon in it is
one here if it begins with / or with a dot. What is copied belongs to root in a
container and to you here, unless -a keeps owners.`

func cpCommands() []command {
	return []command{{
		use: "cp [FLAGS] SOURCE DESTINATION", short: "Copy files to or from a container: CONTAINER:PATH",
		long: cpLong, args: cobra.ExactArgs(2), complete: completer{names: containerPlaces, either: true}, setup: cpCommand,
	}}
}

// containerPlaces are what the paths of containers begin with.
func containerPlaces(ctx context.Context, e api.Engine) ([]string, error) {
	names, err := containerNames()(ctx, e)
	for i := range names {
		names[i] += ":"
	}
	return names, err
}

func cpCommand(a *App, f *pflag.FlagSet) action {
	c := copying{app: a}
	f.BoolVarP(&c.owners, "archive", "a", false, "keep owners and groups")
	f.BoolVarP(&c.follow, "follow-link", "L", false, "copy what SOURCE leads to, if it is a link")
	return func(ctx context.Context, e api.Engine, args []string) error {
		c.engine = e
		from, to := c.place(args[0]), c.place(args[1])
		switch {
		case from.container == "" && to.container == "":
			return errors.New("neither is in a container: write CONTAINER:PATH for one of them")
		case from.container != "" && from.path == "" || to.container != "" && to.path == "":
			return errors.New("a path is missing after the colon")
		}
		return c.copy(ctx, from, to)
	}
}

// place is a path here or in a container; "-" here is a stream.
type place struct{ container, path string }

// place reads an argument. A container's name has neither a slash nor a dot in
// front.
func (c *copying) place(arg string) place {
	if name, file, ok := strings.Cut(arg, ":"); ok && name != "" && name[0] != '.' && !strings.Contains(name, "/") {
		return place{name, file}
	}
	return place{path: arg}
}

func (p place) stream() bool { return p.container == "" && p.path == "-" }

// contents says that a path names what is in a directory.
func (p place) contents() bool { return path.Base(p.path) == "." && !strings.HasSuffix(p.path, "/") }

type copying struct {
	app            *App
	engine         api.Engine
	owners, follow bool
}

// copy writes an archive at one end and unpacks it at the other.
func (c *copying) copy(ctx context.Context, from, to place) error {
	as, into, err := c.names(ctx, from, to)
	if err != nil {
		return err
	}
	switch {
	case from.stream():
		return c.unpack(ctx, into, c.app.Stdin)
	case to.stream():
		if isTerminal(c.app.Stdout) {
			return errors.New("standard output is a terminal, and what is written is an archive: redirect it")
		}
		return c.pack(ctx, from, as, c.app.Stdout)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	var packErr error
	var packed sync.WaitGroup
	packed.Go(func() {
		packErr = c.pack(ctx, from, as, w)
		_ = w.Close() // what could not be written is told by pack
	})
	err = c.unpack(ctx, into, r)
	_ = r.Close() // ends pack, if it is not done
	packed.Wait()
	if packErr != nil && !errors.Is(packErr, syscall.EPIPE) {
		return packErr // the cause of the other
	}
	return err
}

// names finds the name that the source gets, and the directory that it goes into, by
// the rules of docker cp.
func (c *copying) names(ctx context.Context, from, to place) (as string, into place, err error) {
	if from.stream() {
		return "", to, nil
	}
	src, err := c.look(ctx, from, c.follow)
	if err != nil {
		return "", to, err
	}
	content := from.contents()
	if content && !src.dir {
		return "", to, fmt.Errorf("%s is no directory", from.path)
	}
	name := path.Base(from.path)
	if name == ".." || name == "/" || name == "." {
		name = path.Base(src.path)
	}
	if name == "/" || content {
		name = "."
	}
	if to.stream() {
		return name, to, nil
	}
	dst, err := c.look(ctx, to, true)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if strings.HasSuffix(to.path, "/") && !src.dir {
			return "", to, fmt.Errorf("%s: the directory does not exist: %w", to.path, fs.ErrNotExist)
		}
		clean := strings.TrimRight(to.path, "/")
		return path.Base(clean), place{to.container, parent(clean)}, nil
	case err != nil:
		return "", to, err
	case dst.dir:
		return name, to, nil
	case src.dir:
		return "", to, fmt.Errorf("%s is a file, and %s a directory: %w", to.path, from.path, fs.ErrExist)
	}
	return path.Base(dst.path), place{to.container, parent(dst.path)}, nil
}

// parent is the directory that a path is in, without a look at what its names are.
func parent(p string) string {
	i := strings.LastIndexByte(p, '/')
	switch {
	case i < 0:
		return "."
	case i == 0:
		return "/"
	}
	return p[:i]
}

// found is a file at one of the places.
type found struct {
	path string // without links, absolute
	dir  bool
}

func (c *copying) look(ctx context.Context, p place, follow bool) (found, error) {
	if p.container != "" {
		f, err := c.engine.StatContainer(ctx, p.container, p.path, follow)
		return found{f.Path, f.Type == "dir"}, err
	}
	real, err := here(p.path, follow)
	if err != nil {
		return found{}, err
	}
	fi, err := os.Lstat(real)
	if err != nil {
		return found{}, err
	}
	return found{real, fi.IsDir()}, nil
}

// here is a path on this host, absolute; with follow, or a slash at its end, without
// links.
func here(name string, follow bool) (string, error) {
	if base := path.Base(name); follow || strings.HasSuffix(name, "/") || base == "." || base == ".." {
		if strings.HasSuffix(name, "/") {
			name += "." // it must be a directory
		}
		if _, err := os.Stat(name); err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(name)
		if err != nil {
			return "", err
		}
		return filepath.Abs(real)
	}
	dir, err := filepath.EvalSymlinks(parent(name))
	if err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, path.Base(name)))
}

// pack writes the archive of a source, which gets the name as in it.
func (c *copying) pack(ctx context.Context, from place, as string, w *os.File) error {
	if from.container != "" {
		notes, err := c.engine.CopyFromContainer(ctx, from.container, api.CopyFrom{Path: from.path, Follow: c.follow, As: as, Archive: w})
		c.warn(notes...)
		return err
	}
	file, err := here(from.path, c.follow)
	if err != nil {
		return err
	}
	args := []string{"create", "--plain", "--as", as, "-C", filepath.Dir(file), "--json", "--", filepath.Base(file)}
	if file == "/" {
		args[len(args)-1] = "."
	}
	if err := c.ocitar(ctx, nil, w, args...); err != nil {
		return fmt.Errorf("%s: %w", from.path, err)
	}
	return nil
}

// unpack unpacks an archive into a directory.
func (c *copying) unpack(ctx context.Context, into place, r *os.File) error {
	if into.container != "" {
		notes, err := c.engine.CopyToContainer(ctx, into.container, api.CopyTo{Path: into.path, Archive: r, Owners: c.owners})
		c.warn(notes...)
		return err
	}
	dir, err := here(into.path, true)
	if err != nil {
		return err
	}
	args := []string{"extract", "--plain", "--merge", "--devices", "skip", "-C", dir, "--json", "--unconfined"} // xcd wrote it, no stranger
	if !c.owners {
		args = append(args, "--no-owner")
	}
	if err := c.ocitar(ctx, r, nil, args...); err != nil {
		return fmt.Errorf("%s: %w", into.path, err)
	}
	return nil
}

// ocitar runs the program of that name and tells its notes. The package is not linked, as
// every command would pay for the initialisation of its compressors.
func (c *copying) ocitar(ctx context.Context, stdin, stdout *os.File, args ...string) error {
	path, err := findOcitar()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=") // times are kept
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if stdout != nil {
		cmd.Stdout = stdout
	}
	err = cmd.Run()
	text := said.Bytes()
	var sum struct {
		Notes        []struct{ Entry, Text string }
		NotesDropped int64
	}
	if d := json.NewDecoder(bytes.NewReader(text)); d.Decode(&sum) == nil { // else it came to nothing
		text = text[d.InputOffset():]
	}
	for _, n := range sum.Notes {
		c.warn(n.Entry + ": " + n.Text)
	}
	if sum.NotesDropped > 0 {
		c.warn(fmt.Sprintf("and %d more", sum.NotesDropped))
	}
	var ended *exec.ExitError
	switch {
	case err == nil || !errors.As(err, &ended):
		return err
	case ended.Sys().(syscall.WaitStatus).Signal() == syscall.SIGPIPE:
		return syscall.EPIPE
	case ended.ExitCode() == 2: // wrong usage
		return fmt.Errorf("%s is of another version than xc: install both anew", path)
	case ended.ExitCode() < 0 || len(text) == 0:
		return fmt.Errorf("%s: %w", path, err)
	}
	return errors.New(strings.TrimPrefix(strings.TrimSpace(string(text)), "ocitar: "))
}

// findOcitar finds ocitar beside this program, where it is installed, or in PATH.
func findOcitar() (string, error) {
	const name = "ocitar"
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name))
	if errors.Is(err, fs.ErrNotExist) {
		path, err = exec.LookPath(name)
	}
	if err != nil {
		return "", fmt.Errorf("the program ocitar, which packs and unpacks files here, is neither beside xc in %s nor in PATH: %w", filepath.Dir(self), err)
	}
	return path, nil
}

// warn tells what could not be copied as it is.
func (c *copying) warn(notes ...string) {
	for _, n := range notes {
		c.app.complain(fmt.Errorf("warning: %s", n))
	}
}
