package engine_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/joyboyid/xc/engine/api"
	"github.com/joyboyid/xc/host"
)

// After a crash at any point nothing is left of a network but what its record
// tells, and nothing else was touched.
func TestIntegrationNetworkCrashAtEveryPoint(t *testing.T) {
	dir := crashDir(t)
	needNetworks(t)
	addBridge(t, "foreign0")
	before := hostState(t)
	points := crashPoints(t, crashJob{Dir: dir, Nets: true})
	all := strings.Join(points, "\n")
	for _, want := range []string{"held do 1 lease", "run do 1 lease", " interface before", "interface done", "lease done", "network make after", "network remove before"} {
		if !strings.Contains(all, want) {
			t.Errorf("no point %q in\n%s", want, all)
		}
	}
	for i, point := range points {
		if !crashPart(t, i) {
			continue
		}
		t.Run(strconv.Itoa(i+1)+" "+point, func(t *testing.T) {
			if _, killed := runCrashJob(t, crashJob{Dir: dir, Nets: true, Kill: i + 1}); !killed {
				t.Fatal("the process was not killed: the points are not the same each time")
			}
			e := openEngine(t, dir, nil)
			removeContainers(t, e)
			if _, err := e.InspectNetwork(t.Context(), crashNetwork.Name); err == nil {
				// Each address can be had again: the one of IPv4 is the only one.
				for range 2 {
					c, err := e.CreateContainer(t.Context(), api.ContainerSpec{Name: "next", Image: "root", Command: []string{"true"}, Networks: crashAttachments})
					if err != nil {
						t.Fatal(err)
					}
					if err := e.StartContainer(t.Context(), c.ID, api.StartOptions{}); err != nil {
						t.Error(err)
					}
					removeContainers(t, e)
				}
				removeNetworks(t, e)
			}
			closeClean(t, e)
			checkHost(t, before)
		})
	}
}

// After a crash at any point a container that runs publishes what its record says,
// and nothing is left of one that does not: no rule, no process, no socket.
func TestIntegrationPublishCrashAtEveryPoint(t *testing.T) {
	dir := crashDir(t)
	needNetworks(t)
	outside(t)
	foreignRules(t)
	before := hostState(t)
	points := crashPoints(t, crashJob{Dir: dir, Pubs: true})
	all := strings.Join(points, "\n")
	for _, want := range []string{"publish before", "publish after", "proxy after", "publish done", "proxy done", "publish before"} {
		if !strings.Contains(all, want) {
			t.Errorf("no point %q in\n%s", want, all)
		}
	}
	for i, point := range points {
		if !crashPart(t, i) {
			continue
		}
		t.Run(fmt.Sprint(i+1, " ", point), func(t *testing.T) {
			if _, killed := runCrashJob(t, crashJob{Dir: dir, Pubs: true, Kill: i + 1}); !killed {
				t.Fatal("the process was not killed: the points are not the same each time")
			}
			e := openEngine(t, dir, nil)
			c, err := e.InspectContainer(t.Context(), "c")
			if err == nil && c.State == api.StateRunning && len(published(t, c.Ports)) > 0 {
				c, err = e.InspectContainer(t.Context(), "c") // its end may have been told meanwhile
			}
			if err == nil && c.State == api.StateRunning {
				checkPublished(t, c.Ports)
			} else {
				checkPublished(t, nil)
			}
			removeNetworks(t, e)
			closeClean(t, e)
			checkPublished(t, nil)
			checkHost(t, before)
		})
	}
}

// checkPublished checks which of crashPorts somebody has: the proxy, as the rules
// say.
func checkPublished(t *testing.T, want []api.Port) {
	t.Helper()
	for _, wrong := range published(t, want) {
		t.Error(wrong)
	}
}

// published tells what is not so.
func published(t *testing.T, want []api.Port) (wrong []string) {
	t.Helper()
	rules := ruleset(t)
	for _, p := range crashPorts {
		expect := false
		for _, w := range want {
			expect = expect || w.HostPort == p.HostPort
		}
		for i := range p.Count() {
			at := netip.AddrPortFrom(netip.IPv4Unspecified(), p.HostPort+uint16(i))
			f, _, err := host.Bind(p.Proto(), at)
			if err == nil {
				f.Close()
			}
			if bound := errors.Is(err, syscall.EADDRINUSE); bound != expect {
				wrong = append(wrong, fmt.Sprintf("port %s bound: %v, %v", at, bound, err))
			}
		}
		if has := inRules(rules, p.HostPort); has != expect {
			wrong = append(wrong, fmt.Sprintf("port %d in the rules: %v", p.HostPort, has))
		}
	}
	return wrong
}
