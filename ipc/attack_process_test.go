package ipc

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/joyboyid/xc/ipc/internal/leak"
)

// attackMemory is what the server may have, bytes: what these limits let one user
// make it hold at once, bodies of calls, answers that are not read, and for each
// connection a buffer and a queue; and as much again, which the garbage collector
// has not found yet.
//
// Measured, what is alive is 40 MiB at the most, with peers that never read: 23 MiB
// of answers that wait for room, of 100 KiB each, and 5 MiB in queues.
func attackMemory() uint64 {
	l := attackLimits.filled()
	return 2 * uint64(2*l.BytesPerUser+l.ConnsPerUser*(readSizeMax+queueBytes))
}

// attackLimits are those of the server that is attacked. They are small, so that
// what they bound is seen.
var attackLimits = Limits{
	Stall: time.Second, Hello: 2 * time.Second,
	Conns: 800, ConnsPerUser: 400, CallsPerUser: 500, FilesPerUser: 500, BytesPerUser: 16 << 20,
}

// A hostile user does what it can, in a process of its own. The server stays up
// and within its bounds, and another user's calls are answered meanwhile.
func TestIntegrationHostileUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to start a process of another user: go test -exec sudo -run Integration ./ipc")
	}
	leaks(t)
	s, path := attacked(t)
	exe := attacker(t)
	for name := range attacks {
		t.Run(name, func(t *testing.T) {
			friend, err := Open(limited(t), path)
			if err != nil {
				t.Fatal(err)
			}
			runtime.GC() // what the attack before has left
			ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
			defer cancel()
			cmd, told := startAttack(t, exe, name, path)
			var over atomic.Bool
			ended := make(chan error, 1)
			go func() {
				ended <- cmd.Wait()
				over.Store(true)
			}()
			calls, peak, files := 0, uint64(0), 0
			for look := time.Now(); !over.Load(); calls++ {
				var out string
				got, err := friend.Call(ctx, "A.B", nil, []*os.File{os.Stdin}, &out)
				if err != nil || out != "good" || len(got) != 1 {
					t.Fatalf("another user's call %d: %q, %v", calls, out, err)
				}
				closeFiles(got)
				if time.Since(look) > 50*time.Millisecond {
					peak, files, look = max(peak, memory()), max(files, len(leak.Descriptors())), time.Now()
				}
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			out, err := io.ReadAll(told)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%s; meanwhile %d calls of another user, at most %d MiB and %d descriptors", strings.TrimSpace(string(out)), calls, peak>>20, files)
			if bound := attackMemory(); peak > bound {
				t.Errorf("%d MiB, expected at most %d", peak>>20, bound>>20)
			}
			// Its connections, what it may have sent, and what is received and not yet
			// counted, or counted and not yet closed: of one message for each thread.
			threads := pprof.Lookup("threadcreate").Count()
			if bound := attackLimits.ConnsPerUser + attackLimits.FilesPerUser + threads*maxRights; files > bound {
				t.Errorf("%d descriptors, expected at most %d", files, bound)
			}
			if err := friend.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := s.Shutdown(limited(t)); err != nil {
		t.Error(err)
	}
}

// BenchmarkHostileUser measures another user's call while the hostile process
// runs and while it is stopped, in turns. All are of one machine: what a processor
// does for the hostile process itself, it does not do for others.
func BenchmarkHostileUser(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root to start a process of another user")
	}
	exe := attacker(b)
	for name := range attacks {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			s, path := attacked(b)
			friend, err := Open(limited(b), path)
			if err != nil {
				b.Fatal(err)
			}
			cmd, _ := startAttack(b, exe, "@"+name, path)
			var quiet, loud []float64
			for b.Loop() {
				quiet = append(quiet, turn(b, cmd.Process, syscall.SIGSTOP, friend)...)
				loud = append(loud, turn(b, cmd.Process, syscall.SIGCONT, friend)...)
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			slices.Sort(quiet)
			slices.Sort(loud)
			q, l := quiet[len(quiet)/2], loud[len(loud)/2]
			b.ReportMetric(q, "quiet-µs")
			b.ReportMetric(l, "hostile-µs")
			b.ReportMetric(loud[len(loud)*99/100], "hostile-p99-µs")
			b.ReportMetric(l/q, "ratio")
			b.ReportMetric(0, "ns/op")
			if l > 2*q {
				b.Errorf("%.0f µs beside a hostile process, %.0f µs alone", l, q)
			}
			if err := friend.Close(); err != nil {
				b.Error(err)
			}
			if err := s.Shutdown(limited(b)); err != nil {
				b.Error(err)
			}
		})
	}
}

// turn makes calls for a while in which the hostile process runs or does not, and
// returns how long each took, in microseconds.
func turn(b *testing.B, hostile *os.Process, sig syscall.Signal, friend *Client) (took []float64) {
	if err := hostile.Signal(sig); err != nil {
		b.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // what it has sent is done
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); {
		begin := time.Now()
		if _, err := friend.Call(context.Background(), "A.B", nil, nil, nil); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(begin).Nanoseconds())/1e3)
		time.Sleep(100 * time.Microsecond) // as somebody who has other things to do
	}
	return took
}

// attacked serves at a socket that everybody can connect to.
func attacked(t testing.TB) (*Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := Listen(path, ListenOptions{Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handler: attackHandler, Limits: attackLimits}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), l) }()
	t.Cleanup(func() { <-served })
	return s, path
}

// attacker is a copy of the test binary that another user can execute.
func attacker(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe := filepath.Join(dir, "attacker")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return exe
}

// startAttack returns when the process is about to begin, and what it tells.
func startAttack(t testing.TB, exe, name, path string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), attackEnv+"="+name+"@"+path)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	const nobody = 65534
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	cmd.Stdout = w
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	told := bufio.NewReader(r)
	if line, err := told.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd, told
}

// memory is what the process has of heap and stacks, bytes.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
