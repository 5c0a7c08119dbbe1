package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/joyboyid/xc/engine/api"
)

const statsLong = `Without names: of all containers that run. CPU is in percent of one processor,
over the last interval; memory is what the processes have resident, added up, so
that pages they share count for each. Beside each is its limit (xc run --cpus,
--memory, --pids-limit), or a dash.`

// usage is what a container uses, as --format json shows it.
type usage struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	CPU       float64 `json:"cpu"`     // percent of one processor since the last look
	CPUTime   float64 `json:"cputime"` // seconds, of what lives and what it has waited for
	Memory    int64   `json:"memory"`  // bytes
	Processes int     `json:"processes"`
	Threads   int     `json:"threads"`

	MemoryLimit int64   `json:"memory_limit,omitempty"` // bytes
	PidsLimit   int64   `json:"pids_limit,omitempty"`   // processes and threads
	CPUs        float64 `json:"cpus,omitempty"`         // processors
}

// statsRow is a line of xc stats.
type statsRow struct {
	ID, Name, CPU, CPUs, CPUTime, Memory, MemoryLimit, Processes, Threads, PidsLimit string
}

func statsCommand(a *App, f *pflag.FlagSet) action {
	once := f.Bool("no-stream", false, "show it once and end")
	every := f.Duration("interval", time.Second, "time between two looks")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		if *every < 100*time.Millisecond {
			return fmt.Errorf("--interval %v: it is too short: 100ms at the least", *every)
		}
		last, at, err := look(ctx, e, args)
		for err == nil {
			select {
			case <-time.After(*every):
			case <-ctx.Done():
				return ctx.Err()
			}
			var now []usage
			before := at
			if now, at, err = look(ctx, e, args); err != nil {
				break
			}
			share(now, last, at.Sub(before))
			if !*once && *format == "" && isTerminal(a.Stdout) {
				fmt.Fprint(a.Stdout, "\x1b[H\x1b[J") // home, and clear what is below: ECMA-48
			}
			if err = a.printUsage(*format, now); err == nil && *once {
				return nil
			}
			last = now
		}
		return err
	}
}

// look takes a sample of the containers named, or of all that run.
func look(ctx context.Context, e api.Engine, names []string) (list []usage, at time.Time, err error) {
	running, err := e.ListContainers(ctx, api.ListOptions{})
	if err != nil {
		return nil, at, err
	}
	if len(names) > 0 {
		running = nil
		for _, name := range names {
			c, err := e.InspectContainer(ctx, name)
			if err != nil {
				return nil, at, err
			}
			running = append(running, c)
		}
	}
	at = time.Now()
	for _, c := range running {
		processes, err := e.ContainerProcesses(ctx, c.ID)
		if err != nil {
			// It may have ended meanwhile.
			now, lookErr := e.InspectContainer(ctx, c.ID)
			if len(names) == 0 && (errors.Is(lookErr, fs.ErrNotExist) || lookErr == nil && now.State != api.StateRunning) {
				continue
			}
			return nil, at, err
		}
		u := usage{ID: c.ID, Name: c.Name, Processes: len(processes)}
		u.MemoryLimit, u.PidsLimit, u.CPUs = c.Limits.Memory, c.Limits.Pids, c.Limits.CPUs
		for _, p := range processes {
			u.CPUTime += p.CPU + p.Waited
			u.Memory += p.Memory
			u.Threads += p.Threads
		}
		list = append(list, u)
	}
	return list, at, nil
}

// share works out how much processor time was used since the last look. What
// has ended without having been waited for is not in it.
func share(now, last []usage, passed time.Duration) {
	for i := range now {
		j := slices.IndexFunc(last, func(u usage) bool { return u.ID == now[i].ID })
		if j >= 0 && passed > 0 {
			now[i].CPU = max(0, (now[i].CPUTime-last[j].CPUTime)/passed.Seconds()*100)
		}
	}
}

// limitOf is a limit in words, or that there is none.
func limitOf[T int64 | float64](limit T, text string) string {
	if limit == 0 {
		return "-"
	}
	return text
}

func (a *App) printUsage(format string, list []usage) error {
	if format == "json" {
		return printRows(a.Stdout, format, "", usage{}, list)
	}
	rows := make([]statsRow, 0, len(list))
	for _, u := range list {
		rows = append(rows, statsRow{
			ID: u.ID, Name: u.Name, CPU: fmt.Sprintf("%.1f%%", u.CPU), CPUTime: fmt.Sprintf("%.2f", u.CPUTime),
			Memory: size(u.Memory), Processes: strconv.Itoa(u.Processes), Threads: strconv.Itoa(u.Threads),
			CPUs: limitOf(u.CPUs, fmt.Sprint(u.CPUs)), MemoryLimit: limitOf(u.MemoryLimit, size(u.MemoryLimit)),
			PidsLimit: limitOf(u.PidsLimit, strconv.FormatInt(u.PidsLimit, 10)),
		})
	}
	header := statsRow{"CONTAINER ID", "NAME", "CPU", "CPUS", "CPU-SEC", "MEMORY", "LIMIT", "PROCESSES", "THREADS", "LIMIT"}
	fields := []string{"ID", "Name", "CPU", "CPUs", "CPUTime", "Memory", "MemoryLimit", "Processes", "Threads", "PidsLimit"}
	return printRows(a.Stdout, format, "table {{."+strings.Join(fields, "}}\t{{.")+"}}", header, rows)
}
