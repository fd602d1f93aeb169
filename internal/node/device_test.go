package node_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/weftrun/weft"
	"github.com/weftrun/weft/internal/node"
)

var deviceTask = weft.Task0("node_test.devices", func(ctx context.Context) ([]int, error) {
	return weft.Runtime(ctx).Devices["GPU"], nil
})

type gpuUser struct{}

func (*gpuUser) Devices(ctx context.Context) ([]int, error) {
	return weft.Runtime(ctx).Devices["GPU"], nil
}

var (
	gpuUsers    = weft.Actor0("node_test.gpuUser", func(context.Context) (*gpuUser, error) { return &gpuUser{}, nil })
	holdsDevice = weft.Method0(gpuUsers, (*gpuUser).Devices)
)

// Tasks and actors know which GPUs are theirs, in this process and in workers.
func TestDevices(t *testing.T) {
	all := map[string]float64{"CPU": 2, "GPU": 3}
	socket, _ := startNode(t, node.Config{Resources: all})
	for name, option := range map[string]weft.InitOption{"embedded": weft.Resources(all), "worker": weft.Address(socket)} {
		t.Run(name, func(t *testing.T) {
			ctx := open(t, option)
			a := gpuUsers.New(ctx, weft.GPU(1))
			own, err := holdsDevice.Call(ctx, a)
			if err != nil || len(own) != 1 {
				t.Fatal(own, err)
			}
			two, err := deviceTask.Call(ctx, weft.GPU(2))
			if err != nil || len(two) != 2 || slices.Contains(two, own[0]) {
				t.Error(two, own, err)
			}
			if half, err := deviceTask.Call(ctx, weft.GPU(0.5)); err != nil || len(half) != 1 {
				t.Error(half, err)
			}
			if none, err := deviceTask.Call(ctx); err != nil || len(none) != 0 {
				t.Error(none, err)
			}
			if again, err := holdsDevice.Call(ctx, a); err != nil || !reflect.DeepEqual(again, own) {
				t.Error(again, err)
			}
		})
	}
}
