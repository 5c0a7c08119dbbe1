package sitetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/joyboyid/xc/site/control"
)

var processPromises = []Promise{
	{"exit-code", "the exit code of main is that of the container", func(h *harness) {
		for _, code := range []int{0, 3, 255} {
			h.wants(h.run(Container{}, "exit", fmt.Sprint(code)), code, "")
		}
	}},
	{"exit-signal", "a main that was ended by signal n gives 128+n, and the signal", func(h *harness) {
		r := h.run(Container{}, "die", "15")
		h.check(r.exit.Code == 143 && r.exit.Signal == 15, "exit: %+v", r.exit)
	}},
	{"command-missing", "a command that does not exist is fs.ErrNotExist, and leaves nothing", func(h *harness) {
		b := h.hold(Container{}).up()
		_, err := b.tryStart(control.Process{Args: []string{"/bin/nothing"}}, nil)
		h.check(errors.Is(err, fs.ErrNotExist), "error: %v", err)
		b.down()
		h.nothingLeft(b.c.ID)
	}},
	{"command-refused", "a file that cannot be executed is fs.ErrPermission", func(h *harness) {
		b := h.hold(Container{}).up()
		_, err := b.tryStart(control.Process{Args: []string{"/etc/motd"}}, nil)
		h.check(errors.Is(err, fs.ErrPermission), "error: %v", err)
	}},
	{"command-in-path", "a command without a slash is looked for in the PATH of its environment, inside the root", func(h *harness) {
		h.wants(h.runProcess(Container{}, control.Process{Args: []string{"probe", "exit", "4"}, Env: []string{"PATH=/nowhere:/bin"}}), 4, "")
	}},
	{"arguments", "arguments arrive as they were given", func(h *harness) {
		args := []string{"", "a b", "line\nend", "'\"\\", "größe"}
		h.wants(h.run(Container{}, append([]string{"args"}, args...)...), 0, fmt.Sprintf("%q", args))
	}},
	{"environment", "the environment is the one that was given, and nothing of the host's", func(h *harness) {
		p := command("env")
		p.Env = []string{"B=2 3", "HOME=/root", "PATH=/bin"}
		h.wants(h.runProcess(Container{}, p), 0, fmt.Sprintf("%q", p.Env))
	}},
	{"directory", "main starts in the directory that was given, and in no other when there is none", func(h *harness) {
		p := command("dir")
		p.Dir = "/etc"
		h.wants(h.runProcess(Container{}, p), 0, "/etc")
		b := h.hold(Container{}).up()
		p.Dir = "/nowhere"
		_, err := b.tryStart(p, nil)
		h.check(errors.Is(err, fs.ErrNotExist), "error: %v", err)
	}},
	{"user", "main runs as the user that was given, with the groups that the root's files say", func(h *harness) {
		for user, want := range map[string]string{"": "0:0 [0 2000]", "ann": "1000:1001 [1001 2000]", "77:78": "77:78 [78]", "1000": "1000:1001 [1001 2000]"} {
			p := command("user")
			p.User = user
			r := h.runProcess(Container{}, p)
			h.check(r.out == want, "user %q: %q, %+v; want %q", user, r.out, r, want)
		}
	}},
	{"user-missing", "a user that is not in the root's files is fs.ErrNotExist, whoever the host knows", func(h *harness) {
		b := h.hold(Container{}).up()
		p := command("user")
		p.User = "nobody"
		_, err := b.tryStart(p, nil)
		h.must(unsupported(err))
		h.check(errors.Is(err, fs.ErrNotExist), "error: %v", err)
	}},
	{"hostname", "the container has the host name it was given", func(h *harness) {
		h.wants(h.run(Container{Hostname: "web.example"}, "hostname"), 0, "web.example")
	}},
	{"exec", "a command beside main has its own exit code and sees what main sees", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		h.wants(b.exec(command("exit", "9")).wait(), 9, "")
		b.release()
		h.wants(main.wait(), 0, "ready ")
	}},
	{"exec-detached", "a detached command is told of once it runs, and goes on when who has started it goes away", func(h *harness) {
		src := h.dir()
		b := h.hold(Container{Mounts: []Mount{h.mount(src, "/srv", false)}}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		exit, err := b.control().Detach(h.Context(), command("exit", "9"), func(int) error { return nil })
		h.check(err == nil && exit.Code == 9, "exit: %+v, %v", exit, err)
		_, err = b.control().Detach(h.Context(), command("hold", "/srv/go"), func(int) error { return errors.New("told") })
		h.check(err != nil, "who has gone is told: %+v", err)
		ctx, leave := context.WithCancel(h.Context())
		_, err = b.control().Detach(ctx, command("append", "/srv/list", "on"), func(int) error { leave(); return nil })
		h.check(err == nil || errors.Is(err, context.Canceled), "error: %v", err)
		h.until("its work", func() bool { b, err := os.ReadFile(filepath.Join(src, "list")); return err == nil && string(b) == "on" })
		b.release()
		h.wants(main.wait(), 0, "ready ")
	}},
	{"exec-after-end", "nothing is started in a container that has ended", func(h *harness) {
		b := h.hold(Container{}).up()
		b.start(command("exit", "0"), nil).wait()
		e := b.exec(command("exit", "0")).ended()
		h.check(e.err != nil, "exit: %+v", e.exit)
	}},
	{"start-once", "main is started once", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		_, err := b.tryStart(command("exit", "0"), nil)
		h.check(errors.Is(err, fs.ErrExist), "error: %v", err)
	}},
}

// unsupported returns err where it says that the host cannot do this.
func unsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

var streamPromises = []Promise{
	{"stdin-to-stdout", "main reads and writes the very descriptors it was given", func(h *harness) {
		b := h.hold(Container{}).up()
		in := bytes.Repeat([]byte("0123456789abcdef\x00\xff"), 20_000)
		r := h.file(in)
		main := b.start(command("copy"), r)
		r.Close()
		res := main.wait()
		h.check(res.exit.Code == 0 && res.out == string(in), "%d of %d bytes, exit %+v", len(res.out), len(in), res.exit)
	}},
	{"stderr-apart", "what main writes to stderr is not in stdout", func(h *harness) {
		r := h.run(Container{}, "complain", "to stderr")
		h.check(r.out == "" && r.err == "to stderr", "%+v", r)
	}},
	{"descriptors", "main has descriptors 0, 1 and 2, and no other", func(h *harness) {
		h.wants(h.run(Container{}, "descriptors"), 0, "[0 1 2]")
	}},
	{"terminal", "main gets a controlling terminal of the size that was asked for", func(h *harness) {
		p := command("terminal")
		p.Terminal, p.Size = true, control.Size{Cols: 123, Rows: 45}
		r := h.runProcess(Container{}, p)
		h.check(strings.Contains(r.out, "123x45"), "%+v", r)
	}},
}

var isolationPromises = []Promise{
	{"processes-apart", "a container sees no process of the host, nor of another container", func(h *harness) {
		b := h.hold(Container{}).up()
		main := b.start(command("hold", "/tmp/end"), nil)
		h.says(main.out, "ready")
		h.wants(h.run(Container{}, "sees", fmt.Sprint(main.pid), fmt.Sprint(syscall.Getpid()), fmt.Sprint(syscall.Getppid())), 0, "none")
	}},
	{"network-none", "a container without a network has the loopback interface, which is up, and no other that has an address", func(h *harness) {
		r := h.run(Container{}, "interfaces")
		loop := 0
		for line := range strings.Lines(r.out) {
			var name string
			var up, loopback bool
			_, err := fmt.Sscan(line, &name, &up, &loopback)
			h.check(err == nil, "%q: %v", line, err)
			if loopback && up {
				loop++
				continue
			}
			h.check(strings.HasSuffix(strings.TrimSpace(line), "[]"), "an interface with addresses: %s", line)
		}
		h.check(r.exit.Code == 0 && loop == 1, "%+v", r)
	}},
	{"devices", "a container has the devices that programs expect, and neither memory nor disks", func(h *harness) {
		r := h.run(Container{}, "devices")
		have := " " + r.out + " "
		for _, d := range strings.Fields("null zero full random urandom fd stdin stdout stderr") {
			h.check(strings.Contains(have, " "+d+" "), "no /dev/%s among %s", d, r.out)
		}
		for _, d := range strings.Fields("mem kmem kmsg io port pci sda vda nvme0n1 ada0 da0 vtbd0 nda0 zfs pf bpf tun tap") {
			h.check(!strings.Contains(have, " "+d+" "), "there is /dev/%s among %s", d, r.out)
		}
	}},
	{"side-by-side", "containers with the same programs, files and users run side by side", func(h *harness) {
		var all []*box
		var mains []*running
		for range 5 {
			b := h.hold(Container{}).up()
			all, mains = append(all, b), append(mains, b.start(command("hold", "/tmp/end"), nil))
		}
		for i, m := range mains {
			h.says(m.out, "ready")
			all[i].release()
		}
		for _, m := range mains {
			h.wants(m.wait(), 0, "ready ")
		}
	}},
}
