// Package e2e tests the programs as their users start them: xcd, xc,
// xc-runloop and ocitar, built from this tree, with a real registry, real
// terminals, and a daemon that is killed at random. Its tests need root.
package e2e
