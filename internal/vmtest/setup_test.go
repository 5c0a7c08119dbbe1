package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The guest's preparation, with programs that only tell of their calls: a module that
// the image does not have fails nothing, but for that of the pool.
func TestSetupScript(t *testing.T) {
	const loads = "kldload -nq linux64\nkldload -nq linprocfs\nkldload -nq linsysfs\nkldload -nq pf\n"
	for _, tc := range []struct {
		name, pool, lacks string
		out               string
		fails             bool
	}{
		{"all there", "tank", "none", loads + "kldload -n zfs\nzpool create -f -m /tank tank " + guestScratch + "\n", false},
		{"no Linuxulator", "tank", "linux64", loads + "kldload -n zfs\nzpool create -f -m /tank tank " + guestScratch + "\n", false},
		{"no pf and no pool", "", "pf", loads, false},
		{"no ZFS", "tank", "zfs", loads + "kldload -n zfs\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"kldload", "zpool"} {
				script := "#!/bin/sh\necho \"${0##*/} $*\"\ncase \" $* \" in *\" " + tc.lacks + " \"*) exit 1;; esac\n"
				if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/sh", "-c", setupScript(tc.pool))
			cmd.Env = []string{"PATH=" + dir}
			out, err := cmd.Output()
			if string(out) != tc.out || (err != nil) != tc.fails {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
