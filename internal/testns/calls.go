package testns

import (
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// patience is how long a call waits for what may never come. What is refused is
// refused at once.
const patience = 5 * time.Second

// serve answers each call with a name and the address that called.
func serve(network, address, name string) (io.Closer, error) {
	if strings.HasPrefix(network, "udp") {
		return serveUDP(network, address, name)
	}
	return serveTCP(network, address, name)
}

func serveUDP(network, address, name string) (io.Closer, error) {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	go func() {
		for b := make([]byte, 100); ; {
			_, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(name+" "+from.(*net.UDPAddr).IP.String()), from) // who called sees what is lost
		}
	}()
	return c, nil
}

func serveTCP(network, address, name string) (io.Closer, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, name+" "+c.RemoteAddr().(*net.TCPAddr).IP.String())
			_ = c.Close() // who called sees what has come
		}
	}()
	return l, nil
}

// call returns what the called said; "" when nobody did.
func call(network, address string) string {
	c, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return ""
	}
	if strings.HasPrefix(network, "udp") {
		_, _ = c.Write([]byte("?")) // what is lost is not answered
	}
	b := make([]byte, 100)
	n, _ := c.Read(b)
	return string(b[:n])
}
