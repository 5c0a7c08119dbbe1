// Package sample is an interface with all that ipcgen supports, and an
// implementation. The tests generate it again, compile it and call it.
package sample

import (
	"context"
	"iter"
	"net/netip"
	"os"
	"time"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Shop -doc shop.md

// Shop is what the tests call. It has two counters.
type Shop interface {
	Orders
	Streams

	// Now has a single result without a name.
	Now(ctx context.Context) (time.Time, error)
	// Nothing has neither parameters nor results.
	Nothing(ctx context.Context) error
}

// Orders are methods with parameters, results and files.
type Orders interface {
	// Add sums, and shows a variadic parameter.
	Add(ctx context.Context, first int, more ...int) (sum int, err error)
	// Many has more than one result, and names that generated code uses itself.
	Many(ctx context.Context, in string, os []netip.Addr, err map[string]Size) (out string, files []Size, n *int, _ error)
	// Copy copies a file to others; it answers a file of its own.
	Copy(ctx context.Context, from *os.File, to []*os.File) (log *os.File, copied int64, err error)
	// Run takes a struct that holds files at every depth.
	Run(ctx context.Context, command Command) (Outcome, error)
	Fail(ctx context.Context, how string) error // Fail fails in the way that is asked for.
}

// Streams are methods that answer many items.
type Streams interface {
	// Count emits numbers up to n.
	Count(ctx context.Context, n int, emit func(int) error) (last int, err error)
	// Files emits structs with files.
	Files(ctx context.Context, names []string, emit func(Named) error) error
	// Each is Count as an iterator.
	Each(ctx context.Context, n int) iter.Seq2[int, error]
}

// Size is a named basic type.
type Size uint32

// Stdio has files itself.
type Stdio struct {
	In  *os.File `json:"in"`
	Out *os.File `json:"out,omitempty"`
	Err *os.File
}

// Named is a file with its name.
type Named struct {
	Name string   `json:"name"`
	File *os.File `json:"file"`
}

// Command holds files directly, embedded, by pointer, and in slices.
type Command struct {
	Stdio
	Args  []string      `json:"args"`
	Limit time.Duration `json:"limit,omitempty"` // nanoseconds
	Extra []Named       `json:"extra,omitempty"`
	Log   *Named        `json:"log,omitempty"`
	More  []*os.File    `json:"more"`
	local int           `json:"-"` // does not cross
}

// Outcome is a result with a file.
type Outcome struct {
	Code int      `json:"code"`
	Text string   `json:"text"`
	Core *os.File `json:"core"`
}
