package tenant

import (
	"os"
	"os/exec"
	"testing"

	"github.com/joyboyid/xc/kqueue/kqueuetest"
	"github.com/joyboyid/xc/site/runloop"
)

// starter starts the programs of package kqueuetest in a tenant.
func starter(t testing.TB, ten runloop.Tenant) kqueuetest.Start {
	return func(cmd *exec.Cmd) (kqueuetest.Tree, error) {
		p := &runloop.Process{Args: append([]string{cmd.Path}, cmd.Args[1:]...), Env: cmd.Env}
		for i, f := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
			p.Files[i] = f.(*os.File)
		}
		tree, err := ten.Start(p)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			if err := tree.Close(); err != nil {
				t.Error(err)
			}
		})
		return tree, nil
	}
}
