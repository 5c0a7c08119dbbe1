// Package bench measures xc side by side with its peers, in one run:
//
//	cd bench && go test -bench . -count 5 | tee new.txt && benchstat -col /.name new.txt
//
// It is a module of its own, so that the peers' packages stay out of xc's.
// Peers that are not installed are skipped: crun, runc, umoci, bsdtar.
package bench
