// Package older is the interface of package sample as it was before: fewer
// methods, results and fields. Its client still works with the newer server.
package older

import (
	"context"
	"os"
)

//go:generate go run github.com/joyboyid/xc/ipc/ipcgen -type Shop

// Shop is a part of sample.Shop.
type Shop interface {
	Orders
}

// Orders is a part of sample.Orders.
type Orders interface {
	Add(ctx context.Context, first int) (sum int, err error)
	Run(ctx context.Context, command Command) (Outcome, error)
	Gone(ctx context.Context) error // Gone is one that the newer server does not have.
}

// Command has one field and one file.
type Command struct {
	Args []string `json:"args"`
	Out  *os.File `json:"out"`
}

// Outcome lacks the file.
type Outcome struct {
	Code int `json:"code"`
}
