// Package bench measures xc side by side with its peers, in one run:
//
//	cd bench && go test -bench . -count 5 | tee new.txt && benchstat new.txt
//
// It is a module of its own, so that the peers' packages stay out of xc's.
// The benchmarks of ipc run all sides in turns and print their ratios themselves.
// Peers that are not installed are skipped: crun, runc, umoci, bsdtar.
package bench
