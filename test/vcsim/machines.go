package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// The model makes virtual machines one after the other and waits for each by polling; beyond so many in a cluster
// that takes minutes.
const fewMachines = 20

// addMachines adds so many virtual machines to each cluster, powered on and of the shape of the model's own, many at
// once.
func addMachines(model *simulator.Model, count int) error {
	ctx := model.Service.Context
	client, err := vim25.NewClient(ctx, model.Service)
	if err != nil {
		return err
	}
	finder := find.NewFinder(client)
	datacenter, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		return err
	}
	finder.SetDatacenter(datacenter)
	folders, err := datacenter.Folders(ctx)
	if err != nil {
		return err
	}
	clusters, err := finder.ClusterComputeResourceList(ctx, "*")
	if err != nil {
		return err
	}
	network, err := finder.Network(ctx, "DC0_DVPG0")
	if err != nil {
		return err
	}
	backing, err := network.EthernetCardBackingInfo(ctx)
	if err != nil {
		return err
	}
	work := make(chan func() error)
	failures := make(chan error, 1)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for one := range work {
				if err := one(); err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		})
	}
	for _, cluster := range clusters {
		pool, err := cluster.ResourcePool(ctx)
		if err != nil {
			return err
		}
		hosts, err := cluster.Hosts(ctx)
		if err != nil {
			return err
		}
		for index := range count {
			name := fmt.Sprintf("%s_EXTRA_VM%d", cluster.Name(), index)
			host := hosts[index%len(hosts)]
			work <- func() error {
				return addMachine(ctx, model, folders.VmFolder, pool, host, name, backing)
			}
		}
	}
	close(work)
	workers.Wait()
	select {
	case err := <-failures:
		return err
	default:
		return nil
	}
}

func addMachine(
	ctx *simulator.Context, model *simulator.Model, folder *object.Folder, pool *object.ResourcePool,
	host *object.HostSystem, name string, backing types.BaseVirtualDeviceBackingInfo,
) error {
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return err
	}
	ide, err := devices.CreateIDEController()
	if err != nil {
		return err
	}
	cdrom, err := devices.CreateCdrom(ide.(*types.VirtualIDEController))
	if err != nil {
		return err
	}
	disk := devices.CreateDisk(
		scsi.(types.BaseVirtualController), types.ManagedObjectReference{}, "[LocalDS_0] "+name+"/disk1.vmdk")
	disk.CapacityInKB = 10 << 20
	card, err := devices.CreateEthernetCard("vmxnet3", backing)
	if err != nil {
		return err
	}
	devices = append(devices, scsi, cdrom, disk, card)
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return err
	}
	task, err := folder.CreateVM(ctx, types.VirtualMachineConfigSpec{
		Name:         name,
		GuestId:      string(types.VirtualMachineGuestOsIdentifierOtherGuest),
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: changes,
	}, pool, host)
	if err != nil {
		return err
	}
	made, err := result(model, task)
	if err != nil {
		return err
	}
	task, err = object.NewVirtualMachine(folder.Client(), made.(types.ManagedObjectReference)).PowerOn(ctx)
	if err != nil {
		return err
	}
	_, err = result(model, task)
	return err
}

// result waits for a task by looking at it: a property collector of each task would be told of all others.
func result(model *simulator.Model, task *object.Task) (any, error) {
	for {
		var info types.TaskInfo
		ref := task.Reference()
		model.Map().WithLock(model.Service.Context, ref, func() {
			info = model.Map().Get(ref).(*simulator.Task).Info
		})
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info.Result, nil
		case types.TaskInfoStateError:
			return nil, fmt.Errorf("%s: %s", info.Name, info.Error.LocalizedMessage)
		}
		time.Sleep(200 * time.Microsecond)
	}
}
