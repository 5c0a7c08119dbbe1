package engine

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
)

// Containers on a network know each other's names by their /etc/hosts, which is
// a file of the site's directory, mounted over that of the root. It is rewritten
// in place as containers come and go: a mount is of the file, not of its name.

const (
	hostsFile  = "/etc/hosts"
	resolvFile = "/etc/resolv.conf"
)

// namesPath is the file of the site that is mounted on hostsFile or resolvFile.
func (e *Engine) namesPath(id, file string) string {
	return filepath.Join(e.siteDir(id), path.Base(file))
}

// mounts tells whether something of the user's is mounted on a file, or on the
// directory that it is in.
func (p *plan) mounts(file string) bool {
	return slices.ContainsFunc(p.Spec.Mounts, func(m api.Mount) bool {
		dst := path.Clean(m.Destination)
		return dst == file || dst == path.Dir(file)
	})
}

// hasHosts tells whether the container has a hosts file of its own; one that is
// on no network and names no host does without.
func (p *plan) hasHosts() bool {
	return !p.mounts(hostsFile) && (len(p.Networks) > 0 || p.Network == host.NetworkHost || len(p.Spec.Hosts) > 0)
}

// hasResolver tells the same of resolv.conf(5).
func (p *plan) hasResolver() bool {
	d := p.Spec.DNS
	asked := len(d.Servers) > 0 || len(d.Search) > 0 || len(d.Options) > 0
	return !p.mounts(resolvFile) && (len(p.Networks) > 0 || p.Network == host.NetworkHost || asked)
}

// nameMounts are those of the files; they have no Mount.File, as they are ours.
func (e *Engine) nameMounts(c *container) []host.Mount {
	var list []host.Mount
	add := func(file string) {
		list = append(list, host.Mount{Source: e.namesPath(c.id, file), Destination: file, ReadOnly: c.plan.Spec.ReadOnly})
	}
	if c.plan.hasHosts() {
		add(hostsFile)
	}
	if c.plan.hasResolver() {
		add(resolvFile)
	}
	return list
}

// checkNames tells what is wrong with what a spec says of names.
func checkNames(s api.ContainerSpec) error {
	for _, h := range s.Hosts {
		if !nameRule.MatchString(h.Name) {
			return fmt.Errorf("host %q: %w: no name of a host", h.Name, fs.ErrInvalid)
		}
	}
	for _, name := range s.Aliases {
		if !nameRule.MatchString(name) {
			return fmt.Errorf("alias %q: %w: no name of a host", name, fs.ErrInvalid)
		}
	}
	for _, a := range s.DNS.Servers {
		if !a.IsValid() {
			return fmt.Errorf("DNS server: %w: no address", fs.ErrInvalid)
		}
	}
	for _, word := range slices.Concat(s.DNS.Search, s.DNS.Options) {
		if word == "" || len(word) > 253 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == ';' }) {
			return fmt.Errorf("DNS search domain or option %q: %w: not one word", word, fs.ErrInvalid)
		}
	}
	return nil
}

// names guards what hosts files say.
type names struct {
	mu      sync.Mutex
	seed    maphash.Seed
	written map[string]uint64 // by container: hash of what its file was given last
}

func newNames() *names { return &names{seed: maphash.MakeSeed(), written: map[string]uint64{}} }

// blocks are the lines of each network's members, made once for all who are told.
type blocks map[*network]string

// startNames writes the files of a container that is about to run, and tells
// its neighbours.
func (e *Engine) startNames(c *container) error {
	if c.plan.hasResolver() {
		text, err := resolverText(c.plan.Network != host.NetworkHost, c.plan.Spec.DNS, readConfig)
		if err == nil {
			err = writeInPlace(e.namesPath(c.id, resolvFile), text)
		}
		if err != nil {
			return fmt.Errorf("write its %s: %w", resolvFile, err)
		}
	}
	e.names.mu.Lock()
	defer e.names.mu.Unlock()
	if c.plan.hasHosts() {
		delete(e.names.written, c.id) // whatever the last run has made of it
		if err := e.writeHosts(c, blocks{}); err != nil {
			return fmt.Errorf("write its %s: %w", hostsFile, err)
		}
	}
	e.tellNeighbours(c)
	return nil
}

// endNames tells the neighbours of a container that it is gone.
func (e *Engine) endNames(c *container) {
	e.names.mu.Lock()
	defer e.names.mu.Unlock()
	delete(e.names.written, c.id)
	e.tellNeighbours(c)
}

// tellNeighbours rewrites the files of those that run on the networks of a
// container. Engine.names.mu is held.
func (e *Engine) tellNeighbours(c *container) {
	told, lines := map[string]bool{c.id: true}, blocks{}
	for _, a := range c.plan.Networks {
		if n := e.networkByID(a.ID); n != nil {
			e.tellMembers(n, told, lines)
		}
	}
}

func (e *Engine) tellMembers(n *network, told map[string]bool, lines blocks) {
	for _, m := range e.members(n) {
		if told[m.id] || !m.connected() || !m.plan.hasHosts() {
			continue
		}
		told[m.id] = true
		if err := e.writeHosts(m, lines); err != nil {
			e.cfg.Report(fmt.Errorf("container %s: rewrite its %s: %w", m.name(), hostsFile, err))
		}
	}
}

// tellAll rewrites the files of all that run on networks: what has ended while
// there was no engine is gone.
func (e *Engine) tellAll() {
	e.names.mu.Lock()
	defer e.names.mu.Unlock()
	told, lines := map[string]bool{}, blocks{}
	for _, n := range e.allNetworks() {
		e.tellMembers(n, told, lines)
	}
}

// writeHosts writes a hosts file, unless it says that already. Engine.names.mu
// is held.
func (e *Engine) writeHosts(c *container, lines blocks) error {
	text, err := e.hostsText(c, lines)
	if err != nil {
		return err
	}
	sum := maphash.String(e.names.seed, text)
	if last, ok := e.names.written[c.id]; ok && last == sum {
		return nil
	}
	if err := writeInPlace(e.namesPath(c.id, hostsFile), text); err != nil {
		return err
	}
	e.names.written[c.id] = sum
	return nil
}

const localHosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"

// hostsText is what a container's hosts file has to say.
func (e *Engine) hostsText(c *container, lines blocks) (string, error) {
	var b strings.Builder
	if c.plan.Network == host.NetworkHost {
		own, err := readConfig(hostsFile)
		if err != nil {
			return "", err
		}
		b.WriteString(own)
		if own != "" && !strings.HasSuffix(own, "\n") {
			b.WriteByte('\n')
		}
	} else {
		b.WriteString(localHosts)
	}
	list := e.connections(c)
	if c.connected() {
		for _, conn := range list {
			hostLines(&b, conn.addrs, c.hostNames(true))
		}
	}
	for _, h := range c.plan.Spec.Hosts {
		hostLines(&b, hostAddrs(h, list), []string{h.Name})
	}
	for _, conn := range list {
		all, ok := lines[conn.net]
		if !ok {
			all = e.memberLines(conn.net)
			lines[conn.net] = all
		}
		// Its own are above, in another order.
		var own strings.Builder
		hostLines(&own, conn.addrs, c.hostNames(false))
		b.WriteString(strings.Replace(all, own.String(), "", 1))
	}
	return b.String(), nil
}

// memberLines are the lines of all who run on a network.
func (e *Engine) memberLines(n *network) string {
	var b strings.Builder
	for _, m := range e.members(n) {
		if !m.connected() {
			continue
		}
		for _, theirs := range e.connections(m) {
			if theirs.net == n {
				hostLines(&b, theirs.addrs, m.hostNames(false))
			}
		}
	}
	return b.String()
}

func hostLines(b *strings.Builder, addrs []netip.Prefix, names []string) {
	for _, a := range addrs {
		b.WriteString(a.Addr().String())
		b.WriteByte('\t')
		b.WriteString(strings.Join(names, " "))
		b.WriteByte('\n')
	}
}

// hostAddrs are those of a line of the user's: without an address it is this
// host, as it is seen from the networks.
func hostAddrs(h api.HostEntry, list []connection) []netip.Prefix {
	if h.Addr.IsValid() {
		return []netip.Prefix{netip.PrefixFrom(h.Addr, h.Addr.BitLen())}
	}
	var addrs []netip.Prefix
	for _, routes := range gateways(list) {
		for _, g := range routes {
			addrs = append(addrs, netip.PrefixFrom(g, g.BitLen()))
		}
	}
	return addrs
}

// hostNames are the names of a container on its networks: its own host name
// comes first for itself, what it is called for others.
func (c *container) hostNames(own bool) []string {
	list := []string{c.name(), c.plan.Hostname}
	if own {
		list = []string{c.plan.Hostname, c.name()}
	}
	list = append(append(list, c.plan.Spec.Aliases...), c.id)
	var out []string
	for _, name := range list {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// connected tells whether the container has its addresses.
func (c *container) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connections != nil
}

// maxConfig is how much of a file of the host is read, in bytes.
const maxConfig = 1 << 20

// readConfig reads a file of the host; a missing one is empty.
func readConfig(name string) (string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("%s has more than %d bytes: %w", name, maxConfig, fs.ErrInvalid)
	}
	return string(b), err
}

// maxPad bounds the blank lines that cover what a file had before.
const maxPad = 64 << 10

// writeInPlace gives a file that is mounted somewhere another content, the same
// file. Who reads it meanwhile sees whole lines of the new one, and then blank
// ones, never the rest of an old one.
func writeInPlace(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	err = replace(f, []byte(text))
	return errors.Join(err, f.Close())
}

func replace(f *os.File, text []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if rest := info.Size() - int64(len(text)); rest > 0 {
		padded := append(slices.Clone(text), bytes.Repeat([]byte("\n"), int(min(rest, maxPad)))...)
		if _, err := f.WriteAt(padded, 0); err != nil {
			return err
		}
		return f.Truncate(int64(len(text)))
	}
	_, err = f.WriteAt(text, 0)
	return err
}

// disconnect is what follows the end of a run, or of a start that failed.
func (e *Engine) disconnect(c *container) {
	if !c.connected() {
		return
	}
	c.setConnections(nil)
	e.endNames(c)
}
