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
over the last interval, and so is what is read from storage and written to it;
memory is what the kernel counts against a limit, or else what the processes have
resident, added up, so that pages they share count for each. Beside each is its limit
(xc run --cpus, --memory, --pids-limit), or a dash. What the kernel does not tell is
a dash, and below is why.`

// usage is what a container uses, as --format json shows it.
type usage struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	CPU       float64 `json:"cpu"`     // percent of one processor since the last look
	CPUTime   float64 `json:"cputime"` // seconds, of what lives and what it has waited for
	Memory    int64   `json:"memory"`  // bytes
	Processes int     `json:"processes"`
	Threads   int     `json:"threads"`
	Read      int64   `json:"read"`    // bytes per second since the last look
	Written   int64   `json:"written"` // the same

	Missing map[string]string `json:"missing,omitempty"` // what is not known, "io", and why

	MemoryLimit int64   `json:"memory_limit,omitempty"` // bytes
	PidsLimit   int64   `json:"pids_limit,omitempty"`   // processes and threads
	CPUs        float64 `json:"cpus,omitempty"`         // processors

	sum api.Usage
}

// statsRow is a line of xc stats.
type statsRow struct {
	ID, Name, CPU, CPUs, CPUTime, Memory, MemoryLimit, Processes, Threads, PidsLimit, Read, Written string
}

func statsCommand(a *App, f *pflag.FlagSet) action {
	once := f.Bool("no-stream", false, "show it once and end")
	every := f.Duration("interval", time.Second, "time between two looks")
	format := formatFlag(f)
	return func(ctx context.Context, e api.Engine, args []string) error {
		if *every < 100*time.Millisecond {
			return fmt.Errorf("--interval %v: it is too short: 100ms at the least", *every)
		}
		told := map[string]bool{} // what is missing
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
			if err = a.printUsage(*format, now); err != nil {
				break
			}
			if *format == "" {
				a.explainMissing(now, told)
			}
			if *once {
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
		sum, err := e.ContainerUsage(ctx, c.ID)
		if err != nil {
			// It may have ended meanwhile.
			now, lookErr := e.InspectContainer(ctx, c.ID)
			if len(names) == 0 && (errors.Is(lookErr, fs.ErrNotExist) || lookErr == nil && now.State != api.StateRunning) {
				continue
			}
			return nil, at, err
		}
		list = append(list, usage{
			ID: c.ID, Name: c.Name, CPUTime: sum.CPUTime, Memory: sum.Memory, Processes: sum.Processes, Threads: sum.Threads, Missing: sum.Missing,
			MemoryLimit: c.Limits.Memory, PidsLimit: c.Limits.Pids, CPUs: c.Limits.CPUs, sum: sum,
		})
	}
	return list, at, nil
}

// share works out how much was used since the last look, where the kernel does not
// tell that itself.
func share(now, last []usage, passed time.Duration) {
	for i := range now {
		u := &now[i]
		if r := u.sum.Rates; r != nil {
			u.CPU, u.Read, u.Written = r.CPU, r.Read, r.Written
			continue
		}
		j := slices.IndexFunc(last, func(l usage) bool { return l.ID == u.ID })
		if j < 0 || passed <= 0 {
			continue
		}
		before, sec := last[j].sum, passed.Seconds()
		u.CPU = max(0, (u.CPUTime-before.CPUTime)/sec*100)
		u.Read = max(0, int64(float64(u.sum.Read-before.Read)/sec))
		u.Written = max(0, int64(float64(u.sum.Written-before.Written)/sec))
	}
}

// explainMissing tells once why something is not known.
func (a *App) explainMissing(list []usage, told map[string]bool) {
	for _, u := range list {
		for what, why := range u.Missing {
			if !told[what] {
				told[what] = true
				a.complain(fmt.Errorf("%s of containers is not known here: %s", strings.ReplaceAll(what, "io", "i/o"), why))
			}
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

// perSecond is an amount of i/o in words, or that it is not known.
func perSecond(u usage, n int64) string {
	if u.Missing["io"] != "" {
		return "-"
	}
	return size(n) + "/s"
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
			Read:      perSecond(u, u.Read), Written: perSecond(u, u.Written),
		})
	}
	header := statsRow{"CONTAINER ID", "NAME", "CPU", "CPUS", "CPU-SEC", "MEMORY", "LIMIT", "PROCESSES", "THREADS", "LIMIT", "READ", "WRITTEN"}
	fields := []string{"ID", "Name", "CPU", "CPUs", "CPUTime", "Memory", "MemoryLimit", "Processes", "Threads", "PidsLimit", "Read", "Written"}
	return printRows(a.Stdout, format, "table {{."+strings.Join(fields, "}}\t{{.")+"}}", header, rows)
}
