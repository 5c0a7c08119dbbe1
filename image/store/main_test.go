package store_test

import (
	"os"
	"testing"

	"github.com/joyboyid/xc/internal/testns"
)

func TestMain(m *testing.M) {
	testns.Enter()
	os.Exit(m.Run())
}
