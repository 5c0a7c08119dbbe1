package control

import "github.com/joyboyid/xc/ipc"

// Version is that of [Control]. A run loop tells it in the hello of its socket
// (ipc.Server.API); one from before there was a version tells 0.
//
// A container keeps the run loop it was started with, so that an engine meets
// older ones after an upgrade and newer ones after a downgrade. Both work because
// the interface only grows: testdata/versionN.txt records what version N added, and
// a test holds the code to all of them. The number decides nothing. It tells which
// of the two is older when a run loop refuses what it does not know, see [Unknown].
const Version = 2

// Unknown tells that a run loop refused a call of which it does not know the method
// or something in its parameters: it is of another release than who called. It has
// done nothing. Such an error is errors.ErrUnsupported.
func Unknown(err error) bool {
	code := ipc.CodeOf(err)
	return code == ipc.CodeNoMethod || code == ipc.CodeNoField
}
