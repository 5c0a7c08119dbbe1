package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		args string
		want api.Limits
		err  string // part of it
	}{
		{"", api.Limits{}, ""},
		{"--memory 64m", api.Limits{Memory: 64 << 20}, ""},
		{"-m 8388608", api.Limits{Memory: 8 << 20}, ""},
		{"-m 8MiB", api.Limits{Memory: 8 << 20}, ""},
		{"--memory 512kb", api.Limits{Memory: 512 << 10}, ""},
		{"--memory b8", api.Limits{}, "--memory: size \"b8\""},
		{"--memory 8x", api.Limits{}, "expected bytes"},
		{"--memory 8mm", api.Limits{}, "expected bytes"},
		{"--memory -8m", api.Limits{}, "expected bytes"},
		{"--memory 0", api.Limits{}, ""},
		{"--memory nan", api.Limits{}, "expected bytes"},
		{"--memory 1e30", api.Limits{}, "expected bytes"},
		{"--cpus 1.5", api.Limits{CPUs: 1.5}, ""},
		{"--cpus=-1", api.Limits{}, "--cpus -1"},
		{"--cpus nan", api.Limits{}, "--cpus NaN"},
		{"--cpus inf", api.Limits{}, "--cpus +Inf"},
		{"--pids-limit 10", api.Limits{Pids: 10}, ""},
		{"--pids-limit -1", api.Limits{}, ""},
		{"--pids-limit -2", api.Limits{}, "--pids-limit -2"},
		{"--ulimit nofile=10", api.Limits{Ulimits: []api.Ulimit{{Name: "nofile", Soft: 10, Hard: 10}}}, ""},
		{"--ulimit nofile=10:20 --ulimit core=unlimited", api.Limits{Ulimits: []api.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}, {Name: "core", Soft: -1, Hard: -1}}}, ""},
		{"--ulimit core=0:-1", api.Limits{Ulimits: []api.Ulimit{{Name: "core", Hard: -1}}}, ""},
		{"--ulimit nofile", api.Limits{}, "expected NAME=SOFT[:HARD]"},
		{"--ulimit =5", api.Limits{}, "expected NAME"},
		{"--ulimit nofile=", api.Limits{}, "expected NAME"},
		{"--ulimit nofile=1:2:3", api.Limits{}, "expected NAME"},
		{"--ulimit nofile=-5", api.Limits{}, "expected NAME"},
		{"--ulimit nofile=1:", api.Limits{}, "expected NAME"},
	} {
		f := pflag.NewFlagSet("run", pflag.ContinueOnError)
		l := bindLimits(f)
		if err := f.Parse(strings.Fields(tt.args)); err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		got, err := l.limits()
		if tt.err == "" && (err != nil || !reflect.DeepEqual(got, tt.want)) {
			t.Errorf("%s: %+v, %v; want %+v", tt.args, got, err, tt.want)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v; want %s", tt.args, err, tt.err)
		}
	}
}
