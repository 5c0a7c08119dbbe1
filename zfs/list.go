package zfs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Type says what a dataset is.
type Type string

// The types.
const (
	FileSystem Type = "filesystem"
	Snapshot   Type = "snapshot"
	Volume     Type = "volume"
	Bookmark   Type = "bookmark"
)

// Dataset is what one wants to know of a dataset at a glance.
type Dataset struct {
	Name       string
	Type       Type
	Used       uint64 // bytes, with what depends on it
	Available  uint64 // bytes; 0 for a snapshot
	Referenced uint64 // bytes that it can reach, shared or not
	Origin     string // the snapshot it was cloned from, or ""
	Creation   time.Time
	GUID       uint64
}

const listColumns = "name,type,used,avail,refer,origin,creation,guid"

func (z *ZFS) list(ctx context.Context, name string, args ...string) ([]Dataset, error) {
	args = append([]string{"list", "-Hp", "-o", listColumns}, append(args, name)...)
	out, err := z.output(ctx, "list", name, args...)
	if err != nil {
		return nil, err
	}
	return parseList(out)
}

// parseList reads what zfs list -Hp -o listColumns prints. A column that does
// not apply is "-".
func parseList(out []byte) ([]Dataset, error) {
	var ds []Dataset
	for line := range strings.Lines(string(out)) {
		d, err := parseDataset(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("zfs list: line %q: %w", line, err)
		}
		ds = append(ds, d)
	}
	return ds, nil
}

func parseDataset(line string) (Dataset, error) {
	f := strings.Split(line, "\t")
	if len(f) != strings.Count(listColumns, ",")+1 {
		return Dataset{}, fmt.Errorf("has %d columns", len(f))
	}
	d := Dataset{Name: f[0], Type: Type(f[1])}
	if f[5] != "-" {
		d.Origin = f[5]
	}
	var created uint64
	for i, to := range map[int]*uint64{2: &d.Used, 3: &d.Available, 4: &d.Referenced, 6: &created, 7: &d.GUID} {
		if f[i] == "-" {
			continue
		}
		var err error
		if *to, err = strconv.ParseUint(f[i], 10, 64); err != nil {
			return Dataset{}, err
		}
	}
	d.Creation = time.Unix(int64(created), 0)
	return d, nil
}
