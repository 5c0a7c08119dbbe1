package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// accept serves the port until it is closed. When all that may be open is open,
// the next wait in the kernel's queue.
func (p *port) accept() {
	for {
		c, err := p.tcp.AcceptTCP()
		if err != nil {
			if !passing(err) {
				return // closed
			}
			time.Sleep(10 * time.Millisecond) // no descriptors, no memory: it passes
			continue
		}
		p.open <- struct{}{}
		go func() {
			defer func() { <-p.open }()
			p.serve(c)
		}()
	}
}

// serve passes one connection on to the container.
func (p *port) serve(c *net.TCPConn) {
	if !p.allowed(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()) {
		reset(c)
		return
	}
	p.count()
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	var d net.Dialer
	to, err := d.DialTCP(ctx, "tcp", netip.AddrPort{}, p.Target)
	if err != nil {
		reset(c) // as the container would have
		return
	}
	relay(c, to)
}

// relay copies both ways until both have ended. An end of the stream is passed on
// as one; a reset, or anything else that breaks one side, resets the other.
func relay(a, b *net.TCPConn) {
	var wg sync.WaitGroup
	copyTo := func(to, from *net.TCPConn) {
		// By splice(2), on Linux: net.TCPConn has ReadFrom.
		if _, err := io.Copy(to, from); err != nil || to.CloseWrite() != nil {
			reset(to)
			reset(from)
		}
	}
	wg.Go(func() { copyTo(a, b) })
	wg.Go(func() { copyTo(b, a) })
	wg.Wait()
	// Both are read to their end and closed for writing: there is nothing to lose.
	_ = a.Close()
	_ = b.Close()
}

// reset closes a connection so that the peer sees that it was broken.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // closed already: then it is too late anyway
	_ = c.Close()
}
