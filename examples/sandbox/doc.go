// Sandbox runs a program in a root directory of its own, in new namespaces and
// a control group of its own, and waits until it and all it has started are
// gone. It needs the leaves linux/ns, linux/cgroup, linux/pidfd and linux/spawn
// only:
//
//	go build ./examples/sandbox && sudo ./sandbox ROOT PROGRAM [ARGUMENT...]
package main
