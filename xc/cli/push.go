package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/joyboyid/xc/engine/api"
)

const pushLong = `What the registry does not have yet is brought there, and then the name given. An
upload that was broken off goes on where it was. With NAME the image gets that name
there instead of its own.`

func pushCommand(a *App, f *pflag.FlagSet) action {
	var opt api.PushOptions
	f.BoolVar(&opt.Index, "index", false, "put it into the index of that name, beside the images of other platforms")
	quiet := f.BoolP("quiet", "q", false, "show no progress")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		if len(args) > 1 {
			opt.Name = args[1]
		}
		show, end := func(api.PullProgress) error { return nil }, func() {}
		if !*quiet {
			p := newProgress(a.Stderr)
			show, end = p.show, p.end
		}
		pushed, err := e.PushImage(ctx, args[0], opt, show)
		end()
		if err != nil {
			return err
		}
		return printObject(a.Stdout, *format, pushed, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, pushed.Digest)
			return err
		})
	}
}

const loginLong = `The registry is docker.io when missing. The password is asked for, or read from
standard input with --password-stdin. It is tried, and kept in the file that xcd's
configuration names (credentials), for all who use this xcd.`

// maxPassword bounds what is read of a password, in bytes: tokens are long.
const maxPassword = 64 << 10

func loginCommand(a *App, f *pflag.FlagSet) action {
	var spec api.LoginSpec
	f.StringVarP(&spec.Username, "username", "u", "", "name (asked for when missing)")
	fromStdin := f.Bool("password-stdin", false, "read the password from standard input")
	return func(ctx context.Context, e api.Engine, args []string) (err error) {
		if len(args) > 0 {
			spec.Registry = args[0]
		}
		if *fromStdin {
			spec.Password, err = a.passwordFromStdin(spec.Username)
		} else {
			err = a.askLogin(&spec)
		}
		if err != nil {
			return err
		}
		name, err := e.Login(ctx, spec)
		if err == nil {
			fmt.Fprintf(a.Stdout, "Logged in to %s\n", name)
		}
		return err
	}
}

func (a *App) passwordFromStdin(username string) (string, error) {
	if username == "" {
		return "", errors.New("--password-stdin needs --username: the password is all that is read")
	}
	b, err := io.ReadAll(io.LimitReader(a.Stdin, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if len(b) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d bytes", maxPassword)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// askLogin asks for what is missing, on the terminal.
func (a *App) askLogin(spec *api.LoginSpec) error {
	if !isTerminal(a.Stdin) {
		return errors.New("standard input is no terminal to ask for the password on: use --password-stdin")
	}
	if spec.Username == "" {
		fmt.Fprint(a.Stderr, "Username: ")
		line, err := bufio.NewReader(io.LimitReader(a.Stdin, maxPassword)).ReadString('\n')
		if err != nil {
			return fmt.Errorf("read user name: %w", err)
		}
		spec.Username = strings.TrimSpace(line)
	}
	fmt.Fprint(a.Stderr, "Password: ")
	b, err := term.ReadPassword(int(a.Stdin.Fd()))
	fmt.Fprintln(a.Stderr)
	if err != nil {
		return fmt.Errorf("read password: %w", err)
	}
	spec.Password = string(b)
	return nil
}

func logoutCommand(a *App, _ *pflag.FlagSet) action {
	return func(ctx context.Context, e api.Engine, args []string) error {
		registry := ""
		if len(args) > 0 {
			registry = args[0]
		}
		name, err := e.Logout(ctx, registry)
		if err == nil {
			fmt.Fprintf(a.Stdout, "Logged out of %s\n", name)
		}
		return err
	}
}
