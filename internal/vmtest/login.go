package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// display is the guest's screen and keyboard, as the loader of images without a
// serial console uses them.
type display interface {
	screen() (string, error) // the text on it
	typeKeys(text string) error
}

// login takes a guest from its loader to the agent. Each step waits for its
// words on the console or the screen, then types.
//
// The loader of an official VM-IMAGE asks on the screen alone: its menu is left
// for its prompt, where the console becomes the serial port. That of a
// BASIC-CLOUDINIT image has console="comconsole,vidconsole" and asks nothing
// (release/tools in FreeBSD's sources).
type login struct {
	con   *console
	dpy   display
	agent string // the command that starts it
	step  func() (done bool, err error)
	idle  int // calls without anything new
}

func newLogin(con *console, dpy display, agent string) *login {
	l := &login{con: con, dpy: dpy, agent: agent}
	l.step = l.menu
	return l
}

// loaderCommands are typed at the loader's prompt. Resource limits (rctl(8))
// can be switched on there only.
const loaderCommands = "set kern.racct.enable=1\nset console=comconsole\n"

var (
	loaderMenu   = regexp.MustCompile(`Autoboot in|Escape to loader prompt`)
	loaderPrompt = regexp.MustCompile(`(?m)^\W*OK\s*$`)
	loginPrompt  = regexp.MustCompile(`(?m)^login: `)
	rootPrompt   = regexp.MustCompile(`(?m)^(root@.* )?[#%] `)
	refused      = regexp.MustCompile(`(?m)^(Password:|Login incorrect)`)
)

// advance does what can be done now; done means that the agent was started. It
// is called when the console has something new, and from time to time.
func (l *login) advance() (done bool, err error) {
	if p := l.con.panicked(); p != "" {
		return false, fmt.Errorf("%s", p)
	}
	return l.step()
}

func (l *login) menu() (bool, error) {
	if l.con.text() != "" { // the serial port is the console
		l.step = l.prompt
		return false, nil
	}
	s, err := l.dpy.screen()
	if err != nil || !loaderMenu.MatchString(s) {
		return false, err
	}
	l.step = l.loader
	return false, l.dpy.typeKeys("3")
}

func (l *login) loader() (bool, error) {
	s, err := l.dpy.screen()
	if err != nil || !loaderPrompt.MatchString(s) {
		return false, err
	}
	l.step = l.serial
	return false, l.dpy.typeKeys(loaderCommands)
}

// serial is the loader's prompt once more, where it listens now.
func (l *login) serial() (bool, error) {
	if !loaderPrompt.MatchString(l.con.text()) {
		return false, nil
	}
	l.step = l.prompt
	return false, l.con.send("boot")
}

func (l *login) prompt() (bool, error) {
	if !loginPrompt.MatchString(l.con.text()) {
		return false, nil
	}
	l.step = l.shell
	return false, l.con.send("root")
}

func (l *login) shell() (bool, error) {
	text := l.con.text()
	if refused.MatchString(text) {
		return false, errors.New("the image does not let root in without a password")
	}
	if rootPrompt.MatchString(text) {
		return true, l.con.send(l.agent)
	}
	// The kernel may have written into the prompt's line: ask for another.
	if l.idle++; l.idle%10 == 0 && strings.Contains(text, "\n") {
		return false, l.con.send("")
	}
	return false, nil
}
