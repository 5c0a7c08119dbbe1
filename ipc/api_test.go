package ipc

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// A server tells the version of its methods, also when it has gone.
func TestAPI(t *testing.T) {
	leaks(t)
	for _, want := range []int{0, 7} {
		mine, its, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{API: want, Handler: func(context.Context, *Request) (any, []*os.File, error) { return nil, nil, nil }}
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(limited(t), its) }()
		c := NewClient(mine, Limits{})
		for range 2 {
			if got, err := c.API(limited(t)); err != nil || got != want {
				t.Errorf("version %d, %v; want %d", got, err, want)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// A server that is there and does not greet, or greets otherwise, is not one that
// has gone: a client can tell.
func TestServersThatAreNotMet(t *testing.T) {
	for _, tc := range []struct {
		name, hello       string
		slow, unsupported bool
	}{
		{name: "none", slow: true},
		{name: "another version", hello: `{"ipc":2}`, unsupported: true},
		{name: "gone", hello: "-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			leaks(t)
			mine, its, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			c := NewClient(mine, Limits{Hello: 50 * time.Millisecond})
			switch tc.hello {
			case "":
			case "-":
				if err := its.Close(); err != nil {
					t.Fatal(err)
				}
			default:
				if _, err := its.conn.Write(raw(kindHello, 0, 0, tc.hello)); err != nil {
					t.Fatal(err)
				}
			}
			_, callErr := c.Call(limited(t), "A.B", nil, nil, nil)
			_, apiErr := c.API(limited(t))
			<-c.Done()
			_, lateErr := c.Call(limited(t), "A.B", nil, nil, nil)
			for _, err := range []error{callErr, apiErr, lateErr} {
				if CodeOf(err) != CodeUnavailable || errors.Is(err, &Error{Code: CodeSilent}) != tc.slow || errors.Is(err, errors.ErrUnsupported) != tc.unsupported {
					t.Errorf("%v", err)
				}
			}
			if err := errors.Join(c.Close(), its.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}
