// Package testns puts a test binary into namespaces of its own, so that tests
// that mount, or make interfaces, neither see nor disturb those of other test
// binaries, which go test runs at the same time.
//
//	func TestMain(m *testing.M) {
//		testns.Enter()
//		os.Exit(m.Run())
//	}
package testns
