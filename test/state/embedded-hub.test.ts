import { sharedContract } from '../contract/shared.ts';
import { HubFixture } from './hub-fixture.ts';

sharedContract('the embedded hub', async () => {
  const graceMs = 400;
  const fixture = await HubFixture.open({ graceMs });
  return {
    get hub() {
      return fixture.hub;
    },
    graceMs,
    connect: (engine, epoch) => fixture.connect(engine, epoch),
    cut: (engine) => fixture.wires.get(engine)!.cut(),
    takeDown: (engine) => fixture.wires.get(engine)!.takeDown(),
    heal: (engine) => fixture.wires.get(engine)!.heal(),
    restartHub: () => fixture.restartHub(),
    dispose: () => fixture.dispose(),
  };
});
