package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

// limitFlags are the flags that bound what a container uses.
type limitFlags struct {
	memory  string
	cpus    float64
	pids    int64
	ulimits []string
}

func bindLimits(f *pflag.FlagSet) *limitFlags {
	l := &limitFlags{}
	f.StringVarP(&l.memory, "memory", "m", "", "memory that it may use, in bytes or as 512k, 64m, 2g")
	f.Float64Var(&l.cpus, "cpus", 0, "processors whose time it may use, as 1.5")
	f.Int64Var(&l.pids, "pids-limit", 0, "processes and threads that it may have (-1 for any number)")
	f.Var((*repeated)(&l.ulimits), "ulimit", "limit of each process, NAME=SOFT[:HARD]: nofile=1024:4096, core=unlimited")
	return l
}

// limits reads the flags.
func (l *limitFlags) limits() (api.Limits, error) {
	out := api.Limits{CPUs: l.cpus, Pids: max(l.pids, 0)}
	if l.cpus < 0 || math.IsNaN(l.cpus) || math.IsInf(l.cpus, 0) {
		return out, fmt.Errorf("--cpus %v: it is no number of processors", l.cpus)
	}
	if l.pids < -1 {
		return out, fmt.Errorf("--pids-limit %d: expected a number from 1, or -1 for none", l.pids)
	}
	if l.memory != "" {
		n, err := byteSize(l.memory)
		if err != nil {
			return out, fmt.Errorf("--memory: %w", err)
		}
		out.Memory = n
	}
	for _, text := range l.ulimits {
		u, err := ulimit(text)
		if err != nil {
			return out, fmt.Errorf("--ulimit %s: %w", text, err)
		}
		out.Ulimits = append(out.Ulimits, u)
	}
	return out, nil
}

// ulimit reads NAME=SOFT[:HARD]; without a hard limit it is the soft one.
func ulimit(s string) (api.Ulimit, error) {
	name, values, ok := strings.Cut(s, "=")
	soft, hard, both := strings.Cut(values, ":")
	if !both {
		hard = soft
	}
	u := api.Ulimit{Name: name}
	var err1, err2 error
	u.Soft, err1 = amount(soft)
	u.Hard, err2 = amount(hard)
	if !ok || name == "" || err1 != nil || err2 != nil {
		return u, fmt.Errorf("expected NAME=SOFT[:HARD], numbers or unlimited")
	}
	return u, nil
}

// amount is a number, or -1.
func amount(s string) (int64, error) {
	if s == "unlimited" || s == "-1" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}
