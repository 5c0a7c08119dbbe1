// Package testns puts a test binary into namespaces of its own, so that tests
// that mount, or make interfaces, neither see nor disturb those of other test
// binaries, which go test runs at the same time.
//
//	func TestMain(m *testing.M) {
//		testns.Enter()
//		os.Exit(m.Run())
//	}
//
// A [Stack] is a network stack in which a test serves and calls: its own, that of a
// container, or one that stands for the world outside.
package testns
