//go:build race

package confine

// keepsCapabilities: a program with cgo, as the race detector makes it, cannot
// give up capabilities in all threads; see drop.
const keepsCapabilities = true
