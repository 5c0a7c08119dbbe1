package kqueuetest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// Notice measures how long after a process begins to end this is known: main's
// status, that the tree is empty, and, in turns, the status by way of a loop that
// does nothing else: epoll(7) over a pidfd, kevent(2) over its number. The metrics
// are medians, and what the first two are of the third.
func Notice(b *testing.B, start Start) {
	w := newWaiter(b)
	var main, empty, bare []time.Duration
	for b.Loop() {
		cat := startCat(b)
		tree, err := start(cat.cmd)
		if err != nil {
			b.Fatal(err)
		}
		cat.started()
		known := make(chan time.Duration, 1)
		begin := cat.release()
		go func() {
			if _, err := tree.Main(context.Background()); err != nil {
				b.Error(err)
			}
			known <- time.Since(begin)
		}()
		if err := tree.Empty(context.Background()); err != nil {
			b.Fatal(err)
		}
		empty = append(empty, time.Since(begin))
		main = append(main, <-known)
		if err := tree.Close(); err != nil {
			b.Fatal(err)
		}

		cat = startCat(b)
		if err := cat.cmd.Start(); err != nil {
			b.Fatal(err)
		}
		cat.started()
		w.arm(b, cat.cmd.Process.Pid)
		begin = cat.release()
		w.wait(b, cat.cmd.Process.Pid)
		bare = append(bare, time.Since(begin))
		if err := cat.cmd.Process.Release(); err != nil {
			b.Fatal(err)
		}
	}
	m, e, by := median(main), median(empty), median(bare)
	b.ReportMetric(0, "ns/op") // of starts, mostly
	b.ReportMetric(float64(m.Nanoseconds()), "main-ns")
	b.ReportMetric(float64(e.Nanoseconds()), "empty-ns")
	b.ReportMetric(float64(by.Nanoseconds()), "bare-ns")
	b.ReportMetric(float64(m)/float64(by), "main/bare")
	b.ReportMetric(float64(e)/float64(by), "empty/bare")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// cat is cat(1), which ends when its input does.
type cat struct {
	b         testing.TB
	cmd       *exec.Cmd
	in, out   *os.File // ours
	inR, outW *os.File // its
}

func startCat(b testing.TB) *cat {
	b.Helper()
	c := &cat{b: b}
	var err error
	if c.inR, c.in, err = os.Pipe(); err != nil {
		b.Fatal(err)
	}
	if c.out, c.outW, err = os.Pipe(); err != nil {
		b.Fatal(err)
	}
	c.cmd = &exec.Cmd{Path: "/bin/cat", Args: []string{"cat"}, Stdin: c.inR, Stdout: c.outW, Stderr: os.Stderr}
	return c
}

// started returns when it runs.
func (c *cat) started() {
	c.inR.Close()
	c.outW.Close()
	if _, err := c.in.WriteString("x"); err != nil {
		c.b.Fatal(err)
	}
	if _, err := io.ReadFull(c.out, make([]byte, 1)); err != nil {
		c.b.Fatal(err)
	}
}

// release ends it, and returns when.
func (c *cat) release() time.Time {
	c.out.Close()
	now := time.Now()
	c.in.Close()
	return now
}
