package proxy

import "golang.org/x/sys/unix"

// ip(7)
const (
	wantV4 = unix.IP_PKTINFO
	gotV4  = unix.IP_PKTINFO
)

// answerV4 answers from ipi_spec_dst, by whichever interface.
func answerV4(info []byte) []byte {
	if len(info) != unix.SizeofInet4Pktinfo {
		return nil
	}
	clear(info[:4])
	return controlMessage(unix.IPPROTO_IP, unix.IP_PKTINFO, info)
}
