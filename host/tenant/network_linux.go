package tenant

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/joyboyid/xc/linux/netif"
	"github.com/joyboyid/xc/linux/ns"
	"golang.org/x/sys/unix"
)

// newNetwork makes a network namespace with nothing but a loopback interface
// that is up, and returns its descriptor. It takes the kernel as long as all
// else together (0.4 ms), and is done here while the stub starts.
func newNetwork() (fd int, err error) {
	runtime.LockOSThread()
	old, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	defer unix.Close(old)
	fd, err = enterNew()
	if back := unix.Setns(old, unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with the goroutine.
		if fd >= 0 {
			unix.Close(fd)
		}
		return -1, errors.Join(err, fmt.Errorf("leave network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return fd, err
}

// enterNew moves this thread into a new network namespace.
func enterNew() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	if err := ns.Loopback(); err != nil {
		return -1, err
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("network namespace: %w", err)
	}
	return fd, nil
}

// connect makes the interfaces of a tenant in its network namespace. They are
// born there: on the host only the other ends are ever seen, by whatever
// renames or configures interfaces as they come.
func connect(namespace int, id string, list []Interface) (err error) {
	if len(list) == 0 {
		return nil
	}
	fd, err := unix.FcntlInt(uintptr(namespace), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	theirs := os.NewFile(uintptr(fd), "network namespace")
	defer theirs.Close()
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer ours.Close()
	host, err := netif.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	inside, err := netif.OpenIn(theirs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inside.Close()) }()
	for _, i := range list {
		if err := i.make(host, inside, ours, id); err != nil {
			return fmt.Errorf("interface %s: %w", i.Name, err)
		}
	}
	return nil
}

func (i Interface) make(host, inside *netif.Conn, ours *os.File, id string) error {
	bridge, err := host.Lookup(i.Bridge)
	if err != nil {
		return err
	}
	mtu := i.MTU
	if mtu == 0 {
		mtu = bridge.MTU
	}
	var mac net.HardwareAddr
	if i.MAC != "" {
		if mac, err = net.ParseMAC(i.MAC); err != nil {
			return err
		}
	}
	err = inside.AddVeth(netif.Veth{
		End:  netif.End{Name: i.Name, MAC: mac, MTU: mtu},
		Peer: netif.End{Name: i.Peer, MTU: mtu, Namespace: ours},
	})
	if err != nil {
		return err
	}
	err = host.Set(i.Peer, netif.Change{Master: i.Bridge, Alias: "xc " + id + " " + i.Name, Up: netif.Yes})
	if err != nil {
		return err
	}
	if i.Hairpin {
		if err := host.Hairpin(i.Peer); err != nil {
			return err
		}
	}
	if err := inside.Set(i.Name, netif.Change{Up: netif.Yes}); err != nil {
		return err
	}
	for _, p := range i.Addrs {
		if err := inside.AddAddr(i.Name, p); err != nil {
			return err
		}
	}
	for _, g := range i.Gateways {
		if err := inside.AddRoute(netif.Route{Gateway: g, Name: i.Name}); err != nil {
			return err
		}
	}
	return nil
}
