package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOrder: what becomes of a job when the guest fails.
func TestOrder(t *testing.T) {
	stopped := errors.New("stopped by the user")
	for _, c := range []struct {
		name  string
		guest func(id string, channel, console net.Conn, cancel func())
		out   string
		exit  int
		errs  []string
	}{
		{
			name: "end",
			guest: func(id string, channel, console net.Conn, cancel func()) {
				fmt.Fprintf(channel, "\036%s start\nout\036%[1]s exit 1\n", id)
			},
			out: "out", exit: 1,
		},
		{
			name: "panic",
			guest: func(id string, channel, console net.Conn, cancel func()) {
				fmt.Fprintf(channel, "\036%s start\nhalf", id)
				io.WriteString(console, "panic: sleeping thread\r\ncpuid = 0\r\n#0 vpanic\r\n")
				console.Close()
			},
			out: "half", errs: []string{"the guest's kernel panicked: panic: sleeping thread;", "#0 vpanic"},
		},
		{
			name: "reboot",
			guest: func(id string, channel, console net.Conn, cancel func()) {
				fmt.Fprintf(channel, "\036%s start\n", id)
				io.WriteString(console, "Waiting (max 60 seconds) for system process\r\n")
				console.Close()
				channel.Close()
			},
			errs: []string{"the guest went away", "Waiting (max 60"},
		},
		{
			name: "interrupt",
			guest: func(id string, channel, console net.Conn, cancel func()) {
				fmt.Fprintf(channel, "\036%s start\n", id)
				cancel()
			},
			errs: []string{stopped.Error()},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			channelHost, channelGuest := net.Pipe()
			consoleHost, consoleGuest := net.Pipe()
			defer consoleGuest.Close()
			v := &vm{con: newConsole(consoleHost), channel: &channel{rw: channelHost}, channelConn: channelHost}
			go func() {
				line, err := bufio.NewReader(channelGuest).ReadString('\n')
				f := strings.Fields(line)
				if err != nil || len(f) != 3 || f[0] != "run" || f[2] != "5" {
					t.Errorf("ordered %q, %v", line, err)
					channelGuest.Close()
					return
				}
				c.guest(f[1], channelGuest, consoleGuest, func() { cancel(stopped) })
			}()
			var out strings.Builder
			exit, err := v.order(ctx, 5, &out)
			if out.String() != c.out || exit != c.exit || (err == nil) != (len(c.errs) == 0) {
				t.Errorf("got %q %d %v, want %q %d", out.String(), exit, err, c.out, c.exit)
			}
			for _, want := range c.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not contain %q", err, want)
				}
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		err  string
	}{
		{args: "-image a.qcow2 /b001/x.test -test.v=true -image=no"},
		{args: "-stop"},
		{args: "-image a -kernel k -append a=b"},
		{args: "/b001/x.test", err: "-image is missing"},
		{args: "-image a -append a=b", err: "-append needs -kernel"},
		{args: "-image a -accel hvf", err: "must be kvm or tcg"},
		{args: "-image a -pool tank/a", err: "must be of a-z"},
		{args: "-image a -bad", err: "not defined"},
	} {
		o, err := parse(append([]string{"-state", "/s"}, strings.Fields(c.args)...), io.Discard)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		if strings.Contains(c.args, "x.test") && (o.binary != "/b001/x.test" || !slices.Equal(o.args, []string{"-test.v=true", "-image=no"})) {
			t.Errorf("%s: got %q %q", c.args, o.binary, o.args)
		}
	}
}

func TestQemuArgs(t *testing.T) {
	o := options{image: "/i,mg", memory: "1G", cpus: 3}
	args := strings.Join(qemuArgs(o, "tcg", "qcow2"), " ")
	for _, want := range []string{
		"-accel tcg,thread=multi", "-m 1G -smp 3", "-no-reboot",
		"snapshot=on,cache=unsafe,format=qcow2,file=/i,,mg", // never written to
		"readonly=on,format=raw,file=jobs",
	} {
		if !strings.Contains(args, want) {
			t.Errorf("%q is not in %s", want, args)
		}
	}
	if strings.Contains(args, "-kernel") {
		t.Errorf("a kernel in %s", args)
	}
	// The guest's names of the disks depend on their order.
	root, jobs, scratch := strings.Index(args, "drive=root"), strings.Index(args, "drive=jobs"), strings.Index(args, "drive=scratch")
	if root < 0 || jobs < root || scratch < jobs {
		t.Errorf("wrong order of disks: %s", args)
	}
	o.kernel, o.append = "/k", "a=b c=d"
	if got := qemuArgs(o, "kvm", "raw"); !slices.Equal(got[len(got)-4:], []string{"-kernel", "/k", "-append", "a=b c=d"}) {
		t.Errorf("got %q", got)
	}
}

func TestImageFormat(t *testing.T) {
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xaa
	for _, c := range []struct{ name, head, want, err string }{
		{"qcow2", "QFI\xfb\x00\x00\x00\x03" + strings.Repeat("\x00", 512), "qcow2", ""},
		{"raw", string(mbr), "raw", ""},
		{"bare", strings.Repeat("\x00", 1024), "raw", ""},
		{"vmdk", "KDMV" + strings.Repeat("\x00", 512), "", "VMDK"},
		{"text", "404 not found", "", "not a disk image"},
	} {
		name := filepath.Join(t.TempDir(), c.name)
		if err := os.WriteFile(name, []byte(c.head), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := imageFormat(name)
		if got != c.want || (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %q, %v, want %q, %q", c.name, got, err, c.want, c.err)
		}
	}
}

func TestScreenText(t *testing.T) {
	var dump strings.Builder
	cells := fmt.Sprintf("%-80s%-80s%s", "Welcome", " \x01OK ", "cut")
	for i, c := range []byte(cells) {
		if i%4 == 0 {
			fmt.Fprintf(&dump, "%s%016x:", map[bool]string{true: "\r\n"}[i > 0], textAddress+2*i)
		}
		fmt.Fprintf(&dump, " 0x%02x 0x07", c)
	}
	if got, want := screenText(dump.String()), "Welcome\n  OK\ncut"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := screenText("Cannot access memory"); got != "" {
		t.Errorf("got %q of nothing", got)
	}
}

// TestQMP speaks with a server that says what QEMU's says.
func TestQMP(t *testing.T) {
	dir, err := os.MkdirTemp("", "q") // short: see socketMax
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintln(conn, `{"QMP": {"version": {}, "capabilities": ["oob"]}}`)
		r := bufio.NewScanner(conn)
		for _, answer := range []string{
			`{"return": {}}`,
			`{"timestamp": {}, "event": "RESUME"}` + "\n" + `{"return": {"status": "internal-error", "running": false}}`,
			`{"return": ""}`, `{"return": "unknown key: 'x'\r\n"}`,
			`{"error": {"class": "GenericError", "desc": "no such thing"}}`,
			`{"return": {}}`,
		} {
			if !r.Scan() {
				t.Error("no request")
				return
			}
			asked = append(asked, r.Text())
			fmt.Fprintln(conn, answer)
		}
	}()
	q, err := dialQMP(filepath.Join(dir, "qmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer q.conn.Close()
	if err := q.running(); err == nil || !strings.Contains(err.Error(), "internal-error") {
		t.Errorf("running: %v", err)
	}
	if err := q.typeKeys("_x"); err == nil || !strings.Contains(err.Error(), "unknown key") {
		t.Errorf("keys: %v", err)
	}
	if err := q.do(nil, "nonsense", nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("an error: %v", err)
	}
	if err := (&vm{qmp: q}).kill(); err != nil {
		t.Errorf("kill: %v", err)
	}
	<-done
	for i, want := range []string{"qmp_capabilities", "query-status", `"sendkey shift-minus 20"`, `"sendkey x 20"`, "nonsense", "quit"} {
		if i >= len(asked) || !strings.Contains(asked[i], want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
	}
	if err := q.typeKeys("é"); err == nil {
		t.Error("a key for é")
	}
}
