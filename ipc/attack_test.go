package ipc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attackEnv makes the test binary a hostile client: NAME@PATH, or @NAME@PATH for
// one that does it again and again until it is killed.
const attackEnv = "IPC_TEST_ATTACK"

// attacks are what a hostile client does. Each goes on until it has done what it
// wanted, and tells what that was. Errors are no reason to stop: the server may
// do with it what it likes.
var attacks = map[string]func(path string, enough time.Time) string{
	"random bytes":                    attackRandom,
	"half frames":                     attackHalves,
	"tiny calls":                      attackTiny,
	"connections":                     attackConnections,
	"descriptors without a call":      attackDescriptors,
	"calls without their descriptors": attackMissing,
	"a peer that never reads":         attackDeaf,
}

func attack(arg string) {
	arg, again := strings.CutPrefix(arg, "@")
	name, path, _ := strings.Cut(arg, "@")
	fmt.Println("ready") // the server may begin to measure
	for {
		told := attacks[name](path, time.Now().Add(attackTime))
		if !again {
			fmt.Println(told)
			return
		}
	}
}

// attackTime bounds each attack: a million calls take longer on an emulated
// machine than anybody wants to wait.
const attackTime = 10 * time.Second

var attackHello = raw(kindHello, 0, 0, goodHello)

// connect tries until it succeeds: the queue of the listener may be full.
func connect(path string, enough time.Time) *net.UnixConn {
	for time.Now().Before(enough) {
		c, err := net.Dial("unix", path)
		if err == nil {
			return c.(*net.UnixConn)
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return nil
		}
		time.Sleep(time.Millisecond) // what a full queue is differs: EAGAIN, ECONNREFUSED
	}
	return nil
}

// each opens n connections and does something with them, a few at a time.
func each(path string, n int, enough time.Time, do func(i int, c *net.UnixConn)) (opened []*net.UnixConn) {
	for i := range n {
		c := connect(path, enough)
		if c == nil {
			break
		}
		_ = c.SetDeadline(enough)
		do(i, c)
		opened = append(opened, c)
	}
	return opened
}

// dwell keeps what was taken for longer than the patience of the test's server.
func dwell(enough time.Time) { time.Sleep(min(3*time.Second/2, time.Until(enough))) }

func closeAll(conns []*net.UnixConn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

func attackRandom(path string, enough time.Time) string {
	r, n := rand.New(rand.NewPCG(1, 2)), 0
	junk := make([]byte, 64<<10)
	for i := range junk {
		junk[i] = byte(r.Uint32())
	}
	for ; n < 2000 && time.Now().Before(enough); n++ {
		closeAll(each(path, 1, enough, func(_ int, c *net.UnixConn) {
			if n%2 > 0 {
				_, _ = c.Write(attackHello)
			}
			_, _ = c.Write(junk[r.IntN(len(junk)):])
		}))
	}
	return fmt.Sprintf("%d connections with random bytes", n)
}

// attackHalves announces as much as it may on each connection, sends a part, and
// waits.
func attackHalves(path string, enough time.Time) string {
	long := raw(kindCall, 0, 1, "A.B\n"+strings.Repeat("x", 200<<10))
	binary.BigEndian.PutUint32(long, 4<<20)
	conns := each(path, 1000, enough, func(i int, c *net.UnixConn) {
		_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
		switch i % 3 {
		case 0:
			_, _ = c.Write(frames(attackHello, long))
		case 1:
			_, _ = c.Write(frames(attackHello, long[:7]))
		case 2:
			_, _ = c.Write(attackHello[:9])
		}
	})
	dwell(enough)
	defer closeAll(conns)
	return fmt.Sprintf("%d connections with half a frame", len(conns))
}

func attackTiny(path string, enough time.Time) string {
	c := connect(path, enough)
	if c == nil {
		return "not connected"
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute)) // a million take 5 s on a machine with nothing else to do
	go func() { _, _ = io.Copy(io.Discard, c) }()  // ends with c
	_, _ = c.Write(attackHello)
	id := uint64(0)
	for id < 1e6 {
		var batch []byte
		for range 1000 {
			id++
			batch = append(batch, raw(kindCall, 0, id, "A.B\n")...)
		}
		if _, err := c.Write(batch); err != nil {
			break
		}
	}
	return fmt.Sprintf("%d tiny calls", id)
}

// attackConnections takes 10000 connections, or as many as the system lets it.
func attackConnections(path string, enough time.Time) string {
	conns := each(path, 10000, enough, func(_ int, c *net.UnixConn) { _, _ = c.Write(attackHello) })
	dwell(enough)
	defer closeAll(conns)
	return fmt.Sprintf("%d connections", len(conns))
}

// attackDescriptors sends descriptors before, between, inside and with half a frame.
func attackDescriptors(path string, enough time.Time) string {
	r, w, err := os.Pipe()
	if err != nil {
		return err.Error()
	}
	defer closeFiles([]*os.File{r, w})
	rights := make([]int, 60)
	for i := range rights {
		rights[i] = int(r.Fd())
	}
	sent := 0
	call := raw(kindCall, 60, 1, "A.Wait\n")
	conns := each(path, 1000, enough, func(i int, c *net.UnixConn) {
		_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
		data := [][]byte{attackHello[:1], frames(attackHello, call[:3]), frames(attackHello, call), call}[i%4]
		if i%4 < 3 { // two messages may not come as one
			_, _ = c.Write(data[:len(data)-1])
			data = data[len(data)-1:]
		} else {
			_, _ = c.Write(attackHello)
		}
		if _, _, err := c.WriteMsgUnix(data, unix.UnixRights(rights...), nil); err == nil {
			sent += len(rights)
		}
	})
	dwell(enough)
	defer closeAll(conns)
	return fmt.Sprintf("%d descriptors on %d connections", sent, len(conns))
}

func attackMissing(path string, enough time.Time) string {
	n := 0
	for ; n < 2000 && time.Now().Before(enough); n++ {
		closeAll(each(path, 1, enough, func(_ int, c *net.UnixConn) {
			_, _ = c.Write(frames(attackHello, raw(kindCall, 3, 1, "A.B\n"), raw(kindCall, 0, 2, "A.B\n")))
		}))
	}
	return fmt.Sprintf("%d calls without their descriptors", n)
}

// attackDeaf asks for large answers and does not read them.
func attackDeaf(path string, enough time.Time) string {
	var calls []byte
	for id := range uint64(200) {
		calls = append(calls, raw(kindCall, 0, id+1, "A.Large\n")...)
	}
	var wg sync.WaitGroup
	conns := each(path, 100, enough, func(_ int, c *net.UnixConn) {
		wg.Go(func() {
			if _, err := c.Write(attackHello); err == nil {
				_, _ = c.Write(calls)
			}
		})
	})
	wg.Wait()
	dwell(enough)
	defer closeAll(conns)
	return fmt.Sprintf("%d connections that never read", len(conns))
}

// attackHandler is a server's, for friend and foe.
func attackHandler(ctx context.Context, r *Request) (any, []*os.File, error) {
	switch r.Method {
	case "A.Wait":
		<-ctx.Done()
		return nil, nil, ctx.Err()
	case "A.Large":
		return strings.Repeat("x", 100<<10), nil, nil
	}
	return "good", r.Files, nil
}
