package site_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/site"
)

// A crash test: this test binary runs itself as a process that acquires and
// unwinds a site of files and directories, and kills itself at a point. A
// second process must then find the journal able to make the world as it was.
const (
	crashDir   = "XC_SITE_CRASH_DIR"
	crashPoint = "XC_SITE_CRASH_POINT" // empty: recover
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashStory(dir, os.Getenv(crashPoint)); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var (
	heldWorld = []string{"dir:root"}
	runWorld  = []string{"dir:root/dev", "file:root/dev/null", "file:root/jail"}
)

// crashStory is a container's whole life, or with no point its recovery.
func crashStory(dir, point string) error {
	ctx := context.Background()
	j := &fileJournal{path: filepath.Join(dir, "journal")}
	world := filepath.Join(dir, "world")
	s := site.New("c1", j, worldTable(world))
	if point == "" {
		sites, err := j.Sites(ctx)
		if err != nil || len(sites) > 1 {
			return errors.Join(err, errors.New("sites: "+strings.Join(sites, " ")))
		}
		return s.Unwind(ctx)
	}
	s.Trace = func(p string) {
		if p == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal may reach another thread first
		}
	}
	return errors.Join(
		s.Held.Acquire(ctx, worldSteps(world, heldWorld)),
		s.Run.Acquire(ctx, worldSteps(world, runWorld)),
		s.Run.Unwind(ctx),
		s.Held.Unwind(ctx),
	)
}

func worldSteps(world string, names []string) []site.Step {
	var steps []site.Step
	for _, name := range names {
		kind, path, _ := strings.Cut(name, ":")
		steps = append(steps, site.Step{Undo: undo(name, path), Do: func(context.Context) error {
			if kind == "dir" {
				return os.Mkdir(filepath.Join(world, path), 0o755)
			}
			return os.WriteFile(filepath.Join(world, path), []byte("made by the site"), 0o644)
		}})
	}
	return steps
}

func worldTable(world string) site.Table {
	t := site.Table{}
	for _, name := range slices.Concat(heldWorld, runWorld) {
		t[name] = func(_ context.Context, u site.Undo) error {
			var path string
			if err := json.Unmarshal(u.Data, &path); err != nil {
				return err
			}
			if err := os.Remove(filepath.Join(world, path)); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
	}
	return t
}

func TestCrashAtEveryPoint(t *testing.T) {
	s := site.New("c1", &site.MemoryJournal{}, nil)
	points := slices.Concat(s.Held.Points(heldWorld...), s.Run.Points(runWorld...))
	if len(points) != 2+5+2+15 {
		t.Fatalf("%d points", len(points))
	}
	for _, point := range points {
		t.Run(strings.ReplaceAll(strings.ReplaceAll(point, " ", "_"), "/", "-"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "world/neighbour"), 0o755); err != nil {
				t.Fatal(err)
			}
			before := tree(t, filepath.Join(dir, "world"))
			run(t, dir, point, true)
			run(t, dir, "", false)
			if after := tree(t, filepath.Join(dir, "world")); after != before {
				t.Errorf("world before:\n%s\nafter:\n%s", before, after)
			}
			j := &fileJournal{path: filepath.Join(dir, "journal")}
			if sites, err := j.Sites(t.Context()); err != nil || len(sites) != 0 {
				t.Errorf("journal: %v %v", sites, err)
			}
		})
	}
}

func run(t *testing.T, dir, point string, killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashDir+"="+dir, crashPoint+"="+point)
	out, err := cmd.CombinedOutput()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if got := status.Signaled() && status.Signal() == syscall.SIGKILL; got != killed || !killed && err != nil {
		t.Fatalf("point %q: %v, output: %s", point, err, out)
	}
}

func tree(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		b.WriteString(path + " " + d.Type().String() + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// fileJournal keeps a journal in a file of JSON lines: one line is one
// transaction. A torn last line never happened.
type fileJournal struct{ path string }

type journalLine struct {
	Site, Stack string
	Add         []site.Entry
	Drop        int64
}

func (j *fileJournal) lines() ([]journalLine, error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []journalLine
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var l journalLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			break
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func (j *fileJournal) write(l journalLine) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

func (j *fileJournal) Append(_ context.Context, name, stack string, undos []site.Undo) ([]site.Entry, error) {
	lines, err := j.lines()
	if err != nil {
		return nil, err
	}
	var last int64
	for _, l := range lines {
		for _, e := range l.Add {
			last = max(last, e.ID)
		}
	}
	var added []site.Entry
	for i, u := range undos {
		added = append(added, site.Entry{ID: last + int64(i) + 1, Undo: u})
	}
	return added, j.write(journalLine{Site: name, Stack: stack, Add: added})
}

func (j *fileJournal) Drop(_ context.Context, id int64) error { return j.write(journalLine{Drop: id}) }

func (j *fileJournal) Entries(_ context.Context, name, stack string) ([]site.Entry, error) {
	lines, err := j.lines()
	var live []site.Entry
	for _, l := range lines {
		live = slices.DeleteFunc(live, func(e site.Entry) bool { return e.ID == l.Drop })
		if l.Site == name && l.Stack == stack {
			live = append(live, l.Add...)
		}
	}
	return live, err
}

func (j *fileJournal) Sites(ctx context.Context) ([]string, error) {
	lines, err := j.lines()
	if err != nil {
		return nil, err
	}
	var sites []string
	for _, l := range lines {
		live, err := j.Entries(ctx, l.Site, l.Stack)
		if err != nil {
			return nil, err
		}
		if len(live) > 0 && !slices.Contains(sites, l.Site) {
			sites = append(sites, l.Site)
		}
	}
	return sites, nil
}
