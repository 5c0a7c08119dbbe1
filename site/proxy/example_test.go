package proxy_test

import (
	"context"
	"log"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"github.com/joyboyid/xc/ipc"
	"github.com/joyboyid/xc/site/proxy"
)

// A program that calls Main first of all starts itself again as the process that serves
// port 8080, and answers on a socket of its own.
func Example() {
	if proxy.Main() {
		return
	}
	const socket = "/run/web-proxy.sock"
	control, err := listen(net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"}))
	if err != nil {
		log.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	process := exec.Cmd{Path: self, Args: []string{"web-proxy", proxy.Arg, "web"}, ExtraFiles: []*os.File{control}}
	if err := process.Start(); err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	c, err := ipc.Open(ctx, socket)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	port, err := listen(net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	if err != nil {
		log.Fatal(err)
	}
	p := proxy.ProxyClient{C: c}
	if err := p.Add(ctx, []proxy.Forward{{Listener: port, Protocol: "tcp", Target: netip.MustParseAddrPort("10.0.0.2:80"), Key: "web"}}); err != nil {
		log.Fatal(err)
	}
	if err := p.Abandon(ctx); err != nil {
		log.Fatal(err)
	}
}

// listen is the descriptor of a listener.
func listen[L interface{ File() (*os.File, error) }](l L, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	return l.File()
}
