"""`python -m agent_mesh.cli`"""

from agent_mesh.cli.app import main

if __name__ == "__main__":
    main()
