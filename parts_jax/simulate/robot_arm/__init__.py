"""An arm that grasps and stacks cubes, after the Robotics Arm set."""
