package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// fakeGuest answers like a guest: what is typed to what it then shows.
type fakeGuest struct {
	t        *testing.T
	shown    string            // on the screen
	keyboard map[string]string // keys typed, to the next screen
	onKeys   func(keys string)
}

func (g *fakeGuest) screen() (string, error) { return g.shown, nil }

func (g *fakeGuest) typeKeys(keys string) error {
	next, ok := g.keyboard[keys]
	if !ok {
		g.t.Errorf("unexpected keys %q", keys)
	}
	g.shown = next
	g.onKeys(keys)
	return nil
}

const (
	menuText = " Welcome to FreeBSD\n 1. Boot Multi user [Enter]\n 3. Escape to loader prompt\n Autoboot in 9 seconds"
	okText   = "\nType '?' for a list of commands, 'help' for more detailed help.\nOK "
	bootText = "---<<BOOT>>---\r\nroot: mounted\r\nlogin: later\r\n\r\nFreeBSD/amd64 (freebsd) (ttyu0)\r\n\r\nlogin: "
)

func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name   string
		screen bool   // the loader is on the screen, not the console
		boot   string // what the console shows of a boot
		typed  [][2]string
		err    string
	}{
		{
			name: "console on the serial port", boot: bootText,
			typed: [][2]string{{"root", "root\r\nWelcome to FreeBSD!\r\n# "}, {"agent", ""}},
		},
		{
			name: "console on the screen", screen: true,
			typed: [][2]string{{"boot", bootText}, {"root", "root\r\n\r\nroot@freebsd:~ # "}, {"agent", ""}},
		},
		{
			name: "csh", boot: bootText,
			typed: [][2]string{{"root", "root\r\nroot@freebsd:~ # "}, {"agent", ""}},
		},
		{
			name: "the kernel talks into the prompt", boot: bootText + "lo0: link state changed to UP\r\n",
			typed: [][2]string{{"root", "root\r\ntip: # is root\r\n<6>vtbd2: hi# \r\n"}, {"", "\r\n# "}, {"agent", ""}},
		},
		{
			name: "password", boot: bootText, err: "does not let root in",
			typed: [][2]string{{"root", "root\r\nPassword:"}},
		},
		{
			name: "panic", boot: "Launching APs: 1\r\npanic: page fault\r\ncpuid = 1\r\n", err: "panic: page fault",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, guest := net.Pipe()
			defer host.Close()
			con := newConsole(host)
			g := &fakeGuest{t: t, onKeys: func(string) {}}
			if c.screen {
				g.shown = menuText
				g.keyboard = map[string]string{"3": menuText + okText, loaderCommands: ""}
				g.onKeys = func(keys string) {
					if keys == loaderCommands {
						go io.WriteString(guest, okText)
					}
				}
			}
			go func() {
				defer guest.Close()
				if _, err := io.WriteString(guest, c.boot); err != nil {
					return
				}
				r := bufio.NewReader(guest)
				for _, typed := range c.typed {
					line, err := r.ReadString('\r')
					if strings.TrimSuffix(line, "\r") != typed[0] {
						t.Errorf("typed %q, %v, want %q", line, err, typed[0])
					}
					if _, err := io.WriteString(guest, typed[1]); err != nil {
						return
					}
				}
			}()
			l := newLogin(con, g, "agent")
			for {
				done, err := l.advance()
				if c.err != "" && err != nil && strings.Contains(err.Error(), c.err) || c.err == "" && done {
					return
				}
				if err != nil || done {
					t.Fatalf("done %v, %v, want error %q", done, err, c.err)
				}
			}
		})
	}
}
