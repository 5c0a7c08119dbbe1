package proxy

import "golang.org/x/sys/unix"

// ip(4)
const (
	wantV4 = unix.IP_RECVDSTADDR
	gotV4  = unix.IP_RECVDSTADDR
)

// answerV4 answers from the address that was called.
func answerV4(addr []byte) []byte {
	if len(addr) != 4 {
		return nil
	}
	return controlMessage(unix.IPPROTO_IP, unix.IP_SENDSRCADDR, addr)
}
