package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

// topRow is a line of xc top.
type topRow struct {
	PID, PPID, UID, State, Threads, Time, Memory, Elapsed, Command string
}

func topCommand(a *App, f *pflag.FlagSet) action {
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		list, err := e.ContainerProcesses(ctx, args[0])
		if err != nil {
			return err
		}
		if *format == "json" { // numbers as numbers
			return printRows(a.Stdout, *format, "", api.Process{}, list)
		}
		now := time.Now()
		rows := make([]topRow, 0, len(list))
		for _, p := range list {
			command := quoted(p.Args, true)
			if len(p.Args) == 0 {
				command = "[" + p.Name + "]"
			}
			rows = append(rows, topRow{
				PID: strconv.Itoa(p.PID), PPID: strconv.Itoa(p.Parent), UID: strconv.Itoa(p.UID), State: p.State,
				Threads: strconv.Itoa(p.Threads), Time: fmt.Sprintf("%.2f", p.CPU), Memory: size(p.Memory),
				Elapsed: duration(now.Sub(p.Started)), Command: command,
			})
		}
		const standard = `table {{.PID}}\t{{.PPID}}\t{{.UID}}\t{{.State}}\t{{.Threads}}\t{{.Time}}\t{{.Memory}}\t{{.Elapsed}}\t{{.Command}}`
		return printRows(a.Stdout, *format, standard, topRow{"PID", "PPID", "UID", "S", "THR", "CPU-SEC", "MEMORY", "ELAPSED", "COMMAND"}, rows)
	}
}
