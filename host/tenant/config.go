// Package tenant puts the processes of a site where this machine has them: on
// FreeBSD into a jail, on Linux into namespaces. It is what package
// site/runloop gets its [runloop.Tenant] from.
//
// On FreeBSD the jail and its mounts exist before; see [Config.Jail]. On Linux
// Open makes them: it starts a stub, the pid 1 of a new pid namespace, which
// furnishes the root, adopts orphans, starts what it is told to, reports who
// has ended, and takes everything with it when it ends. The stub is this very
// program executed again, so a program that opens tenants begins with
//
//	func main() {
//		if tenant.Main() {
//			return
//		}
//		...
//
// and should be started from a sealed memfd, which nobody can write to.
//
// A tenant is opened from a [Config] in JSON:
//
//	t, err := tenant.Open(json.RawMessage(`{
//		"id": "c7k2", "hostname": "web", "network": "none",
//		"root": {"kind": "overlay", "lower": ["/layers/b", "/layers/a"], "upper": "/c7k2/upper", "work": "/c7k2/work"},
//		"mounts": [{"source": "/srv", "destination": "/srv", "read_only": true}],
//		"cgroup": "/sys/fs/cgroup/xc-5e1f-c7k2"
//	}`))
//	if err != nil {
//		return err
//	}
//	defer t.Close() // everything in it is killed, every mount is gone
//	tree, err := t.Start(&runloop.Process{Args: []string{"httpd"}, Env: env, Files: files})
//	status, err := tree.Main(ctx) // of httpd
//	err = tree.Empty(ctx)         // of httpd and all it has started
package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
)

// Config describes a tenant.
type Config struct {
	ID string `json:"id"` // of the site: in messages

	// FreeBSD: the jail's number and the host's path of its root, in which names
	// are resolved.
	Jail int    `json:"jail,omitempty"`
	Path string `json:"path,omitempty"`

	// Linux.
	Hostname string  `json:"hostname,omitempty"`
	Root     Root    `json:"root,omitzero"`
	ReadOnly bool    `json:"read_only,omitempty"` // the root, once the mount points are made
	Mounts   []Mount `json:"mounts,omitempty"`    // in this order
	// Network is "none", a network namespace with a loopback interface and
	// Interfaces, or "host", that of the run loop.
	Network    string      `json:"network,omitempty"`
	Interfaces []Interface `json:"interfaces,omitempty"`
	// Cgroup is this site's own directory of a cgroup2 hierarchy. It must exist
	// and be without processes and controllers of its own (cgroup.subtree_control).
	// Groups are made below it and removed by Close; the directory itself stays.
	// When empty, all processes of the tenant count as one tree.
	Cgroup string `json:"cgroup,omitempty"`
	// Limited is another such directory, beside Cgroup: the groups of the trees
	// are made in it, so that what limits it limits them, and pid 1 of the tenant,
	// which must not fail, is not in it.
	Limited string `json:"limited,omitempty"`
	// Join are the files cgroup.procs of groups of hierarchies of version 1, which
	// each process joins before it executes.
	Join []string `json:"join,omitempty"`
	// Filtered: the groups Cgroup and Limited have a filter of [Devices].
	// DeviceGroup is a group of version 1 that has that list. Tenants add the devices
	// that processes are given as streams.
	Filtered    bool   `json:"filtered,omitempty"`
	DeviceGroup string `json:"device_group,omitempty"`

	ShmSize int64 `json:"shm_size,omitempty"` // of /dev/shm, bytes; 0 is 64 MiB
	// Unconfined: all system calls may be made that capabilities allow. Otherwise
	// the default filter of package linux/seccomp holds.
	Unconfined bool `json:"unconfined,omitempty"`
}

// Kinds of roots.
const (
	Overlay = "overlay"
	Bind    = "bind"
)

// Root is where the root file system comes from; Linux.
type Root struct {
	Kind  string   `json:"kind"`            // Overlay or Bind
	Lower []string `json:"lower,omitempty"` // overlay: absolute, the topmost first
	Upper string   `json:"upper,omitempty"` // overlay: written to
	Work  string   `json:"work,omitempty"`  // overlay: empty directory beside Upper
	// Volatile: nothing written to an overlay is made durable, not even by
	// fsync(2), and an end does not wait for the disk. For a root that is thrown away
	// with its container: after Close, Work is not fit to be mounted again.
	Volatile bool   `json:"volatile,omitempty"`
	Dir      string `json:"dir,omitempty"` // bind: the root itself
}

// Mount is mounted into the root: a file or directory of the host with what is
// mounted below it, or an empty file system in memory; Linux.
type Mount struct {
	Tmpfs *Tmpfs `json:"tmpfs,omitempty"` // in memory: FD and Source are not used

	// FD is an inherited descriptor of the file or directory, which is then the
	// very one that is mounted, whatever the names say. Open takes it over. When
	// 0, Source is opened.
	FD          int    `json:"fd,omitempty"`
	Source      string `json:"source,omitempty"`
	Destination string `json:"destination"` // absolute, in the root; made when missing
	ReadOnly    bool   `json:"read_only,omitempty"`
	NoSUID      bool   `json:"nosuid,omitempty"` // set-user-ID and set-group-ID have no effect
	NoExec      bool   `json:"noexec,omitempty"` // nothing in it can be executed
}

// Tmpfs is a file system in memory.
type Tmpfs struct {
	Size int64  `json:"size,omitempty"` // bytes; 0 is what the kernel takes
	Mode uint32 `json:"mode"`           // of its root
	UID  uint32 `json:"uid,omitempty"`
	GID  uint32 `json:"gid,omitempty"`
}

// Interface is one end of a pair, whose other end is a port of a bridge of the
// run loop's network namespace; Linux. The pair is gone when the tenant is.
type Interface struct {
	Name     string         `json:"name"` // in the tenant
	Peer     string         `json:"peer"` // of the other end
	Bridge   string         `json:"bridge"`
	MAC      string         `json:"mac,omitempty"` // as net.ParseMAC takes it; empty: a random one
	MTU      int            `json:"mtu,omitempty"` // bytes; 0: the bridge's
	Addrs    []netip.Prefix `json:"addrs,omitempty"`
	Gateways []netip.Addr   `json:"gateways,omitempty"` // default routes
	Hairpin  bool           `json:"hairpin,omitempty"`  // the bridge sends back what the tenant sends itself by a port of the host
}

// parse reads and checks a configuration. Keys it does not know are errors.
func parse(b []byte) (*Config, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var c Config
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("tenant configuration: %w", err)
	}
	return &c, nil
}
