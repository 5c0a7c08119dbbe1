// Package ipc makes JSON calls with open files over UNIX sockets.
//
// A [Server] has one [Handler], which gets a method's name and its parameters.
// A [Client] makes calls on one connection, many at a time; each can be
// cancelled, can have a deadline, and can be answered by a stream of items
// before its result. An *os.File crosses as a descriptor, everything else as
// JSON. Errors keep their meaning: errors.Is(err, fs.ErrNotExist) holds on the
// client as on the server.
//
//	l, err := ipc.Listen("/var/run/clock.sock", ipc.ListenOptions{Mode: 0o660, GID: 5})
//	s := &ipc.Server{Handler: ClockHandler(clock{})}
//	go s.Serve(ctx, l)
//
//	c, err := ipc.Open(ctx, "/var/run/clock.sock")
//	now, err := ClockClient{C: c}.Now(ctx, "UTC")
//
// ClockHandler and ClockClient are written by the generator in ipc/ipcgen from
// the Go interface Clock. The package has no global state and imports the
// standard library and golang.org/x/sys/unix only.
//
// # Who owns a file
//
// Arguments are lent, results are given. The files of a call stay the caller's;
// the receiver has descriptors of its own, which are closed when the handler
// has returned and before its call is answered; a handler that keeps one keeps
// a [Dup]. The same holds for the files
// of a stream's item, with the roles changed. The files of a result belong to
// the caller; the server closes its own once they are sent, so a handler
// returns files that it does not need any more.
//
// # Wire
//
// A connection is a stream socket of the UNIX domain. Both directions carry
// frames: a header of 16 bytes, then a body. Numbers are big endian.
//
//	offset  bytes
//	0       4      length of the body
//	4       1      kind
//	5       1      0
//	6       2      number of descriptors
//	8       8      id of the call; 0 for hello, drain and bye
//
// Descriptors travel as one SCM_RIGHTS message attached to the first byte of
// the header. So a frame with descriptors begins a sendmsg(2) of its own, which
// may go on with further frames that have none. Where JSON speaks of a
// descriptor, it is the descriptor's place in its frame, from 0, or null.
//
//	kind       sent by  body
//	1  hello   both     {"ipc":1,"body":N,"files":N,"window":N[,"api":N]}
//	2  call    client   METHOD[ MICROSECONDS]\nPARAMETERS
//	3  result  server   JSON
//	4  error   server   {"code":…,"message":…,"also":[…],"op":…,"object":…,"errno":…}
//	5  item    server   JSON
//	6  credit  client   a number, in JSON
//	7  cancel  client   empty
//	8  drain   server   empty
//	9  bye     server   empty
//
// Each side sends a hello as its first frame without waiting for the other's.
// It tells the version of the wire, the longest body and the largest number of
// descriptors that the side takes, and the window, see below; a server's also tells
// the version of its methods, if they have one. Unknown fields are ignored; a
// different version of the wire ends the connection. A client may send calls
// behind its hello before it has the server's, with bodies of at most 16384 bytes
// and at most 8 descriptors: every server takes those. A server sends its hello
// before it reads, so a connection that ends without one has executed no call.
//
// A call names a method of at most 255 bytes without blanks, and optionally the
// time until the client's deadline. Parameters are one JSON text, or empty for
// none. Its text is UTF-8, without halves of surrogate pairs: a server refuses a
// call that it would have to change. Its id is any number but 0 that no running
// call of the connection has.
// The answer is any number of items, then a result or an error, all with the
// id of the call. Results are JSON or empty. A cancel ends the handler's context;
// the call is still answered, and a cancel that comes after the answer is
// ignored.
//
// Items have a window: the server may send while what it has sent (bodies and
// headers, in bytes) is less than the client's window and all its credits for
// this call, so the last item may exceed it. A client gives a credit for what it
// has consumed; one that expects less than its window never needs to.
//
// When a server shuts down it sends drain, and refuses further calls with the
// code "unavailable". When all that were running are answered, it sends bye and
// closes: a call that has no answer then was not executed.
//
// Whatever breaks these rules ends the connection: an unknown kind, a length or
// number beyond the hello's, descriptors that were announced and did not come,
// that came and were not announced, or that were cut by the kernel (MSG_CTRUNC),
// an id that is in use, a frame that stalls. Descriptors that were received are
// closed then. [Limits] has the bounds.
//
// # Codes
//
// An error's code is one word. The constants Code… are those of this package;
// packages have their own by giving their errors a method Code() string, on both
// sides. "also" holds further codes that are true of the error, "errno" the name
// of the errno, because numbers differ between systems. The message is the whole
// text; op and object tell what failed on what, where the server knows.
package ipc
