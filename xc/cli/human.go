package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// duration says how long, in the largest unit of which there are two.
func duration(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{
		{365 * 24 * time.Hour, "years"}, {30 * 24 * time.Hour, "months"}, {7 * 24 * time.Hour, "weeks"},
		{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"},
	} {
		if n := d / u.size; n >= 2 {
			return fmt.Sprintf("%d %s", n, u.name)
		}
	}
	switch n := int(d / time.Second); {
	case n >= 60:
		return "About a minute"
	case n == 1:
		return "1 second"
	case n < 1:
		return "Less than a second"
	default:
		return fmt.Sprintf("%d seconds", n)
	}
}

func ago(d time.Duration) string { return duration(d) + " ago" }

// size is a number of bytes in decimal units, as Docker shows it.
func size(n int64) string {
	div, unit := scale(n)
	return strconv.FormatFloat(float64(max(n, 0))/div, 'g', 3, 64) + unit
}

// scale is the decimal unit that a number of bytes is shown in, and how many are one.
func scale(n int64) (div float64, unit string) {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	div = 1
	for float64(n)/div >= 999.5 && len(units) > 1 { // which would be shown as 1e+03
		div, units = div*1000, units[1:]
	}
	return div, units[0]
}

// maxCommand is how many characters of a command ps shows.
const maxCommand = 20

// quoted shows a command in quotes, shortened.
func quoted(args []string, whole bool) string {
	s := []rune(strings.Join(args, " "))
	if !whole && len(s) > maxCommand {
		s = append(s[:maxCommand-1], '…')
	}
	return strconv.Quote(string(s))
}

func labelList(m map[string]string) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		list = append(list, k+"="+m[k])
	}
	return strings.Join(list, ",")
}

// familiar is a reference as its user would write it.
func familiar(ref string) string {
	short, ok := strings.CutPrefix(ref, "docker.io/")
	if !ok {
		return ref
	}
	if official, ok := strings.CutPrefix(short, "library/"); ok && !strings.Contains(official, "/") {
		return official
	}
	if strings.HasPrefix(short, "localhost/") {
		return ref // without docker.io it would be another one
	}
	return short
}

// shortID is the beginning of a digest's hexadecimal part.
func shortID(digest string, whole bool) string {
	_, hex, ok := strings.Cut(digest, ":")
	if whole || !ok || len(hex) < 12 {
		return digest
	}
	return hex[:12]
}

// splitRef parts a reference into repository, tag and digest.
func splitRef(ref string) (repository, tag, digest string) {
	ref, digest, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref, tag = ref[:i], ref[i+1:]
	}
	return ref, tag, digest
}
